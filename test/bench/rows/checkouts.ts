import type { Pool } from '../../../src/db/pool.ts';
import { transaction } from '../../../src/db/transaction.ts';
import { invariant } from '../../../src/errors.ts';
import { newId } from '../../../src/ids.ts';
import type { OpenCheckout } from '../../../src/ledger/checkouts/open-checkout.ts';
import type { LedgerCommand } from '../../../src/ledger/post.ts';
import { postBatch } from '../../../src/ledger/store.ts';
import { anyCustomer, debit, forgetNews, get, MERCHANT, newKey, post, SETTINGS } from '../fill.ts';
import { beside, type Row } from '../row.ts';
import { ourCrediting, paymentOf } from './events.ts';
import { ourSide } from './kit.ts';

/** What checkouts cost, beside the plain work that each of their steps is compared with. */

const CALLERS = 64;
const TOTAL = 100;
const WALLET_PART = 40;

const purchase = () => ({
  total: TOTAL,
  currency: 'USD',
  wallet: { use: 'max', max: WALLET_PART, require_full: false },
});

const quote: Row = {
  ...{ id: 'checkouts', name: `quotes, ${CALLERS} callers`, unit: '/s', claims: [beside('reads of balances', 0.9)] },
  sides: async (run) => ({
    ours: await ourSide(run, CALLERS, () => post(`/customers/${anyCustomer()}/checkouts/quote`, purchase())),
    'reads of balances': await ourSide(run, CALLERS, () => get(`/customers/${anyCustomer()}/wallets`)),
  }),
};

const create: Row = {
  ...{ id: 'checkouts', name: `opened, ${CALLERS} callers`, unit: '/s', claims: [beside('plain debits', 0.4)] },
  sides: async (run) => ({
    ours: await ourSide(run, CALLERS, () =>
      post(`/customers/${anyCustomer()}/checkouts`, { ...purchase(), idempotency_key: newKey() }),
    ),
    'plain debits': await ourSide(run, CALLERS, () => debit()),
  }),
};

interface Open {
  readonly customerId: string;
  readonly checkoutId: string;
}

/** Opens checkouts without a request for each. */
async function open(pool: Pool, count: number): Promise<Open[]> {
  const opened: Open[] = [];
  while (opened.length < count) {
    const commands: readonly LedgerCommand[] = Array.from(
      { length: 250 },
      (): OpenCheckout => ({
        ...{ op: 'open_checkout', merchantId: MERCHANT, customerId: anyCustomer(), currency: 'USD', total: TOTAL },
        ...{ checkoutId: newId('checkout'), tax: null, wallet: { use: 'max', most: WALLET_PART, requireFull: false } },
        ...{ gatewayMinimum: 50, allowCreditPurchase: false, warnings: [], amountCheck: 'exact', sourceId: null },
        ...{
          walletRefunds: 'proportional',
          expiresInSeconds: 1800,
          referenceObjectId: null,
          reason: null,
          metadata: null,
        },
        ...{ idempotencyKey: newKey(), fingerprint: 'ab'.repeat(32) },
      }),
    );
    const results = await transaction(pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: new Date() }));
    for (const result of results) {
      invariant(result.kind === 'checkout_opened', `a checkout was not opened: ${result.kind}`);
      opened.push(result.checkout);
    }
  }
  return opened;
}

const completion: Row = {
  id: 'checkouts',
  name: `events that complete one, until credited, ${CALLERS} callers`,
  unit: '/s',
  claims: [beside('plain events', 0.8)],
  sides: async (run) => {
    const pool = run.rig.pool(await run.rig.main());
    const waiting: Open[] = [];
    const body = () => {
      const one = waiting.pop();
      invariant(one !== undefined, 'there were too few checkouts');
      return paymentOf(one.customerId, { wallet_checkout_id: one.checkoutId }, TOTAL - WALLET_PART);
    };
    const prepare = async (count: number) => {
      waiting.push(...(await open(pool, Math.max(0, count - waiting.length))));
      await forgetNews(pool);
      // What opening them left is tidied up before the clock starts, and not beside the events.
      await pool.query('vacuum (analyze) wallet, entry, hold, checkout, checkout_due, wallet_due, unannounced_wallet');
    };
    return {
      ours: await ourCrediting(run, CALLERS, body, prepare),
      'plain events': await ourCrediting(run, CALLERS, () => paymentOf(anyCustomer())),
    };
  },
};

export const CHECKOUT_ROWS: readonly Row[] = [quote, create, completion];
