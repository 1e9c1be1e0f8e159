import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DUE_CHECKOUTS } from '../../src/checkouts/expire.ts';
import { cancelCheckout, collectCheckout } from '../../src/checkouts/manage.ts';
import { refundCheckout } from '../../src/checkouts/refund.ts';
import { type Tx, transaction } from '../../src/db/transaction.ts';
import { RefusalError } from '../../src/errors.ts';
import type { Checkout } from '../../src/ledger/checkouts/checkout.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { settleAllDue } from '../../src/schedules/due.ts';
import { checkoutNow, openAt, opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { stripeDispute, stripePayment, stripeRefund } from '../support/signing.ts';

/**
 * Aim: whatever happens to checkouts, in whatever order and at once, no event fails, the books agree, and what went back to a wallet follows
 * from what the wallet and the payment had come to. Method: random purchases, and random news and requests about them, side by side.
 */

let database: TestDatabase;
let inbox: TestInbox;
beforeAll(async () => {
  database = await createTestDatabase(30);
  inbox = await startInbox(database, { sources: [testSource('stripe')] });
});
afterAll(async () => {
  await inbox.stop();
  await database.drop();
});

const purchase = fc.record({
  terms: fc.constantFrom(
    { balance: 2000, total: 5000, allowCreditPurchase: false },
    { balance: 10, total: 40, allowCreditPurchase: true },
    { balance: 0, total: 100, allowCreditPurchase: false },
    { balance: 333, total: 1000, allowCreditPurchase: false },
  ),
  walletRefunds: fc.constantFrom('proportional', 'proportional', 'manual'),
  amountCheck: fc.constantFrom('exact', 'at_least'),
  isOver: fc.boolean(),
  acts: fc.array(
    fc.oneof(
      fc.record({
        kind: fc.constant('paid'),
        payment: fc.constantFrom(1, 1, 1, 2),
        off: fc.constantFrom(0, 0, 0, 0, -1, 7),
      }),
      fc.record({
        kind: fc.constantFrom('processing', 'payment_failed', 'requires_action'),
        payment: fc.constantFrom(1, 2),
      }),
      fc.record({
        kind: fc.constantFrom('refunded', 'refunded', 'refund_failed', 'lost', 'won'),
        part: fc.constantFrom('a', 'b', 'c'),
        share: fc.integer({ min: 1, max: 100 }),
      }),
      fc.record({ kind: fc.constantFrom('cancel', 'collect', 'expire', 'return', 'spend', 'earn', 'freeze') }),
    ),
    { minLength: 2, maxLength: 12 },
  ),
});
type Purchase = typeof purchase extends fc.Arbitrary<infer One> ? One : never;
type Act = Purchase['acts'][number];

let made = 0;
const post = (commands: readonly LedgerCommand[], now = new Date()) =>
  transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));

async function opened({ terms, isOver, walletRefunds, amountCheck, acts }: Purchase) {
  made += 1;
  const { balance, total, allowCreditPurchase } = terms;
  const [customerId = ''] = await makeCustomers(database.pool, [`history${made}`]);
  if (balance > 0) await post([posting({ customerId, amountMinor: balance })], new Date(Date.now() - 86_400_000));
  const command = opening(customerId, total, { allowCreditPurchase, walletRefunds, amountCheck });
  const checkout = await openAt(database.pool, command, new Date(Date.now() - (isOver ? 3_600_000 : 0)));
  const ofParts: Record<string, number> = { a: 1 + ((made * 7) % 900), b: 11, c: 1500 };
  return { name: `h${made}`, checkout, acts, ofParts };
}
type Opened = Awaited<ReturnType<typeof opened>>;

function bodyOf({ name, checkout, ofParts }: Opened, act: Act): string | null {
  const { customerId, checkoutId, paymentPart, creditBought } = checkout;
  const metadata = { wallet_customer_id: customerId, wallet_checkout_id: checkoutId };
  const shared = { currency: 'usd', customer: null };
  if ('payment' in act) {
    const paymentId = `pi_${name}_${act.payment}`;
    const amount = paymentPart + creditBought + ('off' in act ? act.off : 0);
    const type = act.kind === 'paid' ? 'succeeded' : act.kind;
    return stripePayment({ ...shared, type: type as 'succeeded', paymentId, amount, metadata });
  }
  if (!('part' in act)) return null;
  const part = { paymentId: `pi_${name}_1`, amount: ofParts[act.part] ?? 1, currency: 'usd' };
  if (act.kind === 'lost' || act.kind === 'won')
    return stripeDispute({ ...part, type: 'closed', disputeId: `du_${name}_${act.part}`, status: act.kind });
  const isFailed = act.kind === 'refund_failed';
  return stripeRefund({
    ...{ ...part, refundId: `re_${name}_${act.part}`, type: isFailed ? 'failed' : 'created' },
    status: isFailed ? 'failed' : 'succeeded',
  });
}

async function request({ checkout, name }: Opened, kind: string): Promise<void> {
  const { customerId, currency } = checkout;
  const key = { merchantId: MERCHANT, customerId, checkoutId: checkout.checkoutId };
  const moment = { ...SETTINGS, now: new Date() };
  const inTransaction = (work: (tx: Tx) => Promise<unknown>) =>
    transaction(database.pool, work).catch((error: unknown) => {
      if (!(error instanceof RefusalError)) throw error;
    });
  switch (kind) {
    case 'cancel':
      await inTransaction((tx) => cancelCheckout(tx, key, moment));
      return;
    case 'collect':
      await inTransaction((tx) => collectCheckout(tx, key, moment));
      return;
    case 'return': {
      const idempotencyKey = `${name}-${Math.random()}`;
      await inTransaction((tx) => refundCheckout(tx, { ...key, amountMinor: 5, idempotencyKey, reason: null }, moment));
      return;
    }
    case 'spend':
      await post([posting({ customerId, amountMinor: 7, isCredit: false })]);
      return;
    case 'earn':
      await post([posting({ customerId, amountMinor: 500 })]);
      return;
    case 'freeze':
      await post([
        {
          ...{ merchantId: MERCHANT, customerId, currency, op: 'change_status', status: 'frozen' },
          ...{ pauseExpiry: false, reason: 'fraud?', actor: 'operator' },
        },
      ]);
      return;
    case 'expire': {
      const { signal } = new AbortController();
      const services = { settings: SETTINGS, clock: { now: () => new Date() }, onPosted: () => {}, signal };
      await settleAllDue({ pool: database.pool, ...services, logger: inbox.services.logger }, DUE_CHECKOUTS);
    }
  }
}

/** What went back to the wallet by refunds of the payment, of what it had paid, by the rules of the page. */
async function expected({ name, checkout }: Opened, now: Checkout): Promise<number | null> {
  if (now.walletRefunds === 'manual' || now.paymentId !== `pi_${name}_1`) return null;
  const { rows } = await database.pool.query<{ refunded: number; paid: number; agreed: number; bought: number }>(
    `select coalesce((select sum(t.amount) from payment_part t where t.merchant_id = $3 and t.payment_id = p.payment_id and t.kind = 'refund' and t.state = 'succeeded'), 0)::int as refunded,
       amount_paid::int as paid, agreed_amount::int as agreed, coalesce(credit_amount, 0)::int as bought
     from payment p where merchant_id = $3 and payment_id = $1 and checkout_id = $2`,
    [now.paymentId, checkout.checkoutId, checkout.merchantId],
  );
  const [{ refunded, paid, agreed, bought } = { refunded: 0, paid: 0, agreed: 1, bought: 0 }] = rows;
  const order = agreed - bought;
  const undone = Math.max(0, refunded - Math.max(0, paid - agreed));
  return Math.floor((now.captured * Math.min(undone, order)) / order);
}

it('ends with books that agree', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(purchase, { minLength: 1, maxLength: 6 }), fc.boolean(), async (purchases, isAtOnce) => {
      const all: Opened[] = [];
      for (const one of purchases) all.push(await opened(one));
      const most = Math.max(...purchases.map(({ acts }) => acts.length));
      const does = async (one: Opened, act: Act | undefined) => {
        if (act === undefined) return;
        const body = bodyOf(one, act);
        await (body === null ? request(one, act.kind) : inbox.deliver(body));
      };
      if (isAtOnce) await Promise.all(all.flatMap((one) => one.acts.map((act) => does(one, act))));
      else {
        for (let index = 0; index < most; index += 1) {
          await Promise.all(all.map((one) => does(one, one.acts[index])));
          await inbox.settled();
        }
      }
      await inbox.settled();
      const { rows } = await database.pool.query("select detail from provider_event where reason = 'apply_failed'");
      expect(rows).toEqual([]);
      await expectBooksToAgree(database.pool);
      for (const one of all) {
        const now = await checkoutNow(database.pool, one.checkout);
        const returned = await expected(one, now);
        if (returned !== null) expect(now.walletReturned).toBe(returned);
      }
    }),
    { numRuns: rounds(4, 60), endOnFailure: true },
  );
}, 600_000);
