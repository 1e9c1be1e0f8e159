import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { reassignPayment } from '../../src/customers/reassign.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { RefusalError } from '../../src/errors.ts';
import { dismissEvent } from '../../src/inbox/dismiss.ts';
import { listEvents } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import type { Checkout } from '../../src/ledger/checkouts/checkout.ts';
import type { OpenCheckout } from '../../src/ledger/checkouts/open-checkout.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import type { Source } from '../../src/merchants/source.ts';
import { adoptSource } from '../../src/reconciliation/adopt.ts';
import { checkoutNow, openAt, opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { stripePayment, stripeRefund } from '../support/signing.ts';

/** What people and other sources do with the payments of checkouts. */

let database: TestDatabase;
let inbox: TestInbox;
let made = 0;
const sources: Source[] = [];

beforeAll(async () => {
  database = await createTestDatabase(30);
  inbox = await startInbox(database, { sources, waitSeconds: 0 });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const run = (commands: readonly LedgerCommand[], now = new Date()) =>
  transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));

/** Two sources of one account, and a customer whose checkout of 5000 waits for a payment of 3000. */
async function world(terms: Partial<OpenCheckout> = {}) {
  made += 1;
  const newSource = (name: string) => {
    const one = testSource('stripe', { sourceId: `src_${name}${made}`, metadata: 'customer' });
    sources.push(one);
    return one;
  };
  const [old, replacement] = [newSource('old'), newSource('new')];
  const [customerId = '', otherId = ''] = await makeCustomers(database.pool, [`owner${made}`, `other${made}`]);
  await run([posting({ customerId, amountMinor: 2000 })], new Date(Date.now() - 86_400_000));
  const checkout = await openAt(database.pool, opening(customerId, 5000, terms));
  const paymentId = `pi_owner${made}`;
  const metadata = { wallet_customer_id: customerId, wallet_checkout_id: checkout.checkoutId };
  const own = { paymentId, currency: 'usd' };
  return {
    ...{ customerId, otherId, checkout, paymentId, old, replacement },
    paid: (change: Parameters<typeof stripePayment>[0] = {}) =>
      stripePayment({ ...own, amount: 3000, customer: null, metadata, ...change }),
    refunded: (refundId: string, amount: number) =>
      stripeRefund({ ...own, refundId: `${refundId}${made}`, amount, status: 'succeeded' }),
  };
}
type World = Awaited<ReturnType<typeof world>>;

const now = ({ checkout }: World): Promise<Checkout> => checkoutNow(database.pool, checkout);
const balanceOf = async (customerId: string) => {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  return wallets.find(({ currency }) => currency === 'USD')?.balance;
};
const services = () => ({ ...inbox.services, pool: database.pool });
async function adopt({ old, replacement }: World): Promise<void> {
  await adoptSource(services(), { merchantId: MERCHANT, from: old.sourceId, into: replacement.sourceId });
  await inbox.settled();
}
async function faults(): Promise<readonly string[]> {
  const { disagreements } = await audit(autocommit(database.pool));
  return disagreements.map(({ rule, subject, detail }) => `${rule} ${subject} ${detail}`);
}
async function parkedOf({ paymentId }: World) {
  const all = await listEvents(autocommit(database.pool), MERCHANT, { state: null, pageSize: 100, pageNumber: 0 });
  const parked = all.find((one) => one.paymentId === paymentId && one.state === 'parked');
  if (parked === undefined) throw new Error('no event is parked');
  return parked;
}

describe('a source that adopts another', () => {
  it('has its checkouts too: a refund that comes to it returns the wallet’s part, and is told of', async () => {
    const one = await world();
    await inbox.play([one.paid()], one.old);
    await adopt(one);
    expect(await faults()).toEqual([]);
    await inbox.play([one.refunded('re_a', 3000)], one.replacement);
    expect(await now(one)).toMatchObject({
      ...{ state: 'completed', sourceId: one.replacement.sourceId, walletReturned: 2000, paymentRefunded: 3000 },
    });
    expect(await balanceOf(one.customerId)).toBe(2000);
    expect(await faults()).toEqual([]);
  });

  it('keeps the payment that has completed a checkout, which moved no money of its own', async () => {
    const one = await world();
    await inbox.play([one.paid()], one.replacement);
    // The same payment came to the other source, which parks it.
    await inbox.play([one.paid()], one.old);
    await adopt(one);
    expect(await now(one)).toMatchObject({ state: 'completed', paymentId: one.paymentId });
    expect(await faults()).toEqual([]);
    const other = await world();
    await inbox.play([other.paid()], other.old);
    await inbox.play([other.paid()], other.replacement);
    await adopt(other);
    await inbox.play([other.refunded('re_b', 3000)], other.replacement);
    expect(await now(other)).toMatchObject({ state: 'completed', walletReturned: 2000, paymentRefunded: 3000 });
    expect(await faults()).toEqual([]);
  });
});

describe('a person', () => {
  it('cannot give the payment that completed a checkout to somebody else', async () => {
    const one = await world();
    await inbox.play([one.paid(), one.refunded('re_c', 1500)], one.old);
    const wanted = { merchantId: MERCHANT, paymentId: one.paymentId, sourceId: null, customerId: one.otherId };
    const moved = reassignPayment(services(), { ...wanted, reason: 'wrong', force: true, actor: 'api' });
    await expect(moved).rejects.toThrow(RefusalError);
    expect(await faults()).toEqual([]);
    await inbox.play([one.refunded('re_d', 1500)], one.old);
    expect(await balanceOf(one.customerId)).toBe(2000);
    expect(await faults()).toEqual([]);
  });

  it('who gave a payment to somebody else before it counted keeps it from the checkout of whose it was', async () => {
    const one = await world();
    await inbox.play([one.paid({ type: 'processing' }), one.paid({ amount: 2900 })], one.old);
    const { eventId } = await parkedOf(one);
    await dismissEvent(
      { ...services(), onPosted: () => {} },
      { merchantId: MERCHANT, eventId, note: 'of somebody else', amountMinor: 0, entryId: null },
    );
    const wanted = { merchantId: MERCHANT, paymentId: one.paymentId, sourceId: null, customerId: one.otherId };
    await reassignPayment(services(), { ...wanted, reason: 'wrong', force: true, actor: 'api' });
    expect((await now(one)).prolongedUntil).not.toBeNull();
    await replayEvent(database.pool, inbox.boss, {
      ...{ merchantId: MERCHANT, eventId, customerId: null, acceptsAmount: true, reopens: true },
    });
    await inbox.settled();
    expect(await now(one)).toMatchObject({ state: 'open', prolongedUntil: null });
    expect([await balanceOf(one.customerId), await balanceOf(one.otherId)]).toEqual([2000, 2900]);
    expect(await faults()).toEqual([]);
  });

  it('may handle another amount by hand, and have it complete the checkout after all', async () => {
    const one = await world();
    await inbox.play([one.paid({ amount: 2900 })], one.old);
    const { eventId, reason } = await parkedOf(one);
    expect(reason).toBe('checkout_mismatch');
    await dismissEvent(
      { ...services(), onPosted: () => {} },
      { merchantId: MERCHANT, eventId, note: 'refunded in the shop', amountMinor: 0, entryId: null },
    );
    await inbox.play([one.refunded('re_e', 2900)], one.old);
    expect(await balanceOf(one.customerId)).toBe(2000);
    expect(await faults()).toEqual([]);
    await replayEvent(database.pool, inbox.boss, {
      ...{ merchantId: MERCHANT, eventId, customerId: null, acceptsAmount: true, reopens: true },
    });
    await inbox.settled();
    expect(await now(one)).toMatchObject({ state: 'completed', walletReturned: 2000, paymentRefunded: 2900 });
    expect(await balanceOf(one.customerId)).toBe(2000);
    expect(await faults()).toEqual([]);
  });
});
