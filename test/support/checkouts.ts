import type { Pool } from '../../src/db/pool.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { newId } from '../../src/ids.ts';
import type { Checkout } from '../../src/ledger/checkouts/checkout.ts';
import type { OpenCheckout } from '../../src/ledger/checkouts/open-checkout.ts';
import { checkoutsByIds } from '../../src/ledger/checkouts/store.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { MERCHANT, SETTINGS } from './ledger.ts';

/** A checkout as it is stored: 2000 of 5000 USD are held, and 3000 are to be paid. */
export function checkoutRow(overrides: Partial<Checkout> = {}): Checkout {
  const { walletPart = 2000, paymentPart = 3000 } = overrides;
  return {
    ...{
      merchantId: 'bus_default',
      customerId: 'cus_a',
      currency: 'USD',
      checkoutId: 'chk_00000000000000000000000001',
    },
    ...{
      state: 'open',
      total: walletPart + paymentPart,
      tax: null,
      walletPart,
      paymentPart,
      creditBought: 0,
      adjusted: 'none',
    },
    ...{ gatewayMinimum: 50, warnings: [], amountCheck: 'exact', walletRefunds: 'proportional', holdNo: 1 },
    ...{ captured: 0, uncollected: 0, walletReturned: 0, paymentRefunded: 0, overRefunded: false },
    ...{ sourceId: null, paymentId: null, seriesId: null, sessionId: null, sessionUrl: null },
    ...{
      referenceObjectId: null,
      reason: null,
      metadata: null,
      idempotencyKey: 'order-1',
      fingerprint: 'a'.repeat(64),
    },
    ...{ expiresAt: new Date('2026-01-31T12:45:00Z'), prolongedUntil: null },
    ...{ createdAt: new Date('2026-01-31T12:00:00Z'), completedAt: null },
    ...overrides,
  };
}

/** What opens a checkout of a purchase, under a key of its own. */
export function opening(customerId: string, total: number, terms: Partial<OpenCheckout> = {}): OpenCheckout {
  return {
    ...{ op: 'open_checkout', merchantId: MERCHANT, customerId, currency: 'USD', checkoutId: newId('checkout'), total },
    ...{ tax: null, wallet: { use: 'max', most: null, requireFull: false }, gatewayMinimum: 50 },
    ...{ allowCreditPurchase: false, warnings: [], amountCheck: 'exact', walletRefunds: 'proportional' },
    ...{ expiresInSeconds: 1800, sourceId: null, referenceObjectId: null, reason: null, metadata: null },
    ...{ idempotencyKey: newId('event'), fingerprint: 'ab'.repeat(32) },
    ...terms,
  };
}

/** Opens it at a time, on a database of the test. */
export async function openAt(pool: Pool, command: OpenCheckout, now = new Date()): Promise<Checkout> {
  const commands: readonly LedgerCommand[] = [command];
  const [result] = await transaction(pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));
  if (result?.kind !== 'checkout_opened') throw new Error(`not opened: ${JSON.stringify(result)}`);
  return result.checkout;
}

export async function checkoutNow(pool: Pool, { merchantId, checkoutId }: Checkout): Promise<Checkout> {
  const [found] = await checkoutsByIds(autocommit(pool), merchantId, [checkoutId]);
  if (found === undefined) throw new Error('the checkout is not there');
  return found;
}
