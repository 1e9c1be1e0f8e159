import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit, transaction } from '../../../src/db/transaction.ts';
import { newId } from '../../../src/ids.ts';
import { LedgerBatches } from '../../../src/ledger/batches.ts';
import type { Checkout } from '../../../src/ledger/checkouts/checkout.ts';
import type { CheckoutResult, OpenCheckout } from '../../../src/ledger/checkouts/open-checkout.ts';
import { captureFor, collectFor, prolongFor, releaseFor } from '../../../src/ledger/checkouts/take.ts';
import { getHold } from '../../../src/ledger/holds/read.ts';
import type { LedgerCommand } from '../../../src/ledger/post.ts';
import { postBatch, readWallets } from '../../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../../support/ledger.ts';
import { waitingForLocks } from '../../support/lock-waits.ts';
import { eventually } from '../../support/wait.ts';

const START = new Date('2026-03-01T12:00:00Z');
const later = (seconds: number) => new Date(START.getTime() + seconds * 1000);

let database: TestDatabase;
let customers = 0;

beforeAll(async () => {
  database = await createTestDatabase(20);
});
afterAll(() => database.drop());

const run = (commands: readonly LedgerCommand[], now = START) =>
  transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));

/** A new customer with this balance in USD. */
async function funded(amountMinor: number): Promise<string> {
  customers += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`c${customers}`]);
  if (amountMinor > 0) await run([posting({ customerId, amountMinor })]);
  return customerId;
}

const credit = (customerId: string, amountMinor: number, now = START) =>
  run([posting({ customerId, amountMinor })], now);
const debit = (customerId: string, amountMinor: number, now = START) =>
  run([posting({ customerId, amountMinor, isCredit: false })], now);

function opening(customerId: string, total: number, terms: Partial<OpenCheckout> = {}): OpenCheckout {
  return {
    ...{ op: 'open_checkout', merchantId: MERCHANT, customerId, currency: 'USD', checkoutId: newId('checkout'), total },
    ...{ tax: null, wallet: { use: 'max', most: null, requireFull: false }, gatewayMinimum: 50 },
    ...{ allowCreditPurchase: false, warnings: ['taxed_on_payment_alone'], amountCheck: 'exact' },
    ...{ walletRefunds: 'proportional', expiresInSeconds: 1800, sourceId: null, referenceObjectId: 'order-7' },
    ...{ reason: 'Two lamps', metadata: null, idempotencyKey: `k${newId('event')}`, fingerprint: 'ab'.repeat(32) },
    ...terms,
  };
}

async function open(command: OpenCheckout, now = START): Promise<CheckoutResult> {
  const [result] = await run([command], now);
  if (result === undefined || !isOfCheckout(result)) throw new Error('another result');
  return result;
}

const isOfCheckout = (result: Awaited<ReturnType<typeof run>>[number]): result is CheckoutResult =>
  ['checkout_opened', 'opened_before', 'refused'].includes(result.kind);

async function opened(command: OpenCheckout, now = START): Promise<Checkout> {
  const result = await open(command, now);
  if (result.kind !== 'checkout_opened') throw new Error(JSON.stringify(result));
  return result.checkout;
}

async function walletOf(customerId: string) {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  const { balance, held, openHolds, status } = wallets.find(({ currency }) => currency === 'USD') ?? {};
  return { balance, held, openHolds, status };
}

async function entriesOf(customerId: string) {
  const { rows } = await database.pool.query<{ entry: string }>(
    `select format('%s %s %s', amount, event_type, idempotency_key) as entry from entry
     where customer_id = $1 and event_type <> 'merchant_adjustment' order by seq`,
    [customerId],
  );
  return rows.map(({ entry }) => entry);
}

const holdOf = async (checkout: Checkout) => {
  const { merchantId, customerId, currency, holdNo } = checkout;
  return holdNo === null ? null : getHold(autocommit(database.pool), { merchantId, customerId, currency, holdNo });
};

const taken = async (checkout: Checkout, now: Date) => {
  const [result] = await run([captureFor(checkout)], now);
  return result?.kind === 'captured' ? [result.entry?.amountMinor ?? null, result.uncaptured] : result;
};

describe('opening a checkout', () => {
  it("example 1: holds the wallet's part for the provider's page and 15 minutes more", async () => {
    const customerId = await funded(2000);
    const checkout = await opened(opening(customerId, 5000));
    expect(checkout).toMatchObject({ state: 'open', walletPart: 2000, paymentPart: 3000, adjusted: 'none', holdNo: 1 });
    expect(checkout.expiresAt).toEqual(later(1800 + 900));
    expect(checkout.warnings).toEqual(['taxed_on_payment_alone']);
    expect(await walletOf(customerId)).toMatchObject({ balance: 2000, held: 2000, openHolds: 1 });
    const hold = { kind: 'checkout', state: 'open', amountMinor: 2000, expiresAt: later(2700), reason: 'Two lamps' };
    expect(await holdOf(checkout)).toMatchObject({ ...hold, referenceObjectId: 'order-7' });
    expect(await taken(checkout, later(60))).toEqual([2000, 0]);
    expect(await entriesOf(customerId)).toEqual([`2000 hold_captured checkout:${checkout.checkoutId}:capture`]);
    expect(await walletOf(customerId)).toMatchObject({ balance: 0, held: 0, openHolds: 0 });
  });

  it('example 3: takes all at once where the wallet has it, and asks no provider for anything', async () => {
    const customerId = await funded(2000);
    const result = await open(opening(customerId, 1500));
    expect(result).toMatchObject({
      kind: 'checkout_opened',
      checkout: { state: 'completed', walletPart: 1500, paymentPart: 0, captured: 1500, warnings: [] },
      entry: { amountMinor: 1500, eventType: 'hold_captured', afterBalance: 500, referenceObjectId: 'order-7' },
      wallet: { balance: 500, held: 0, openHolds: 0 },
    });
    const checkout = result.kind === 'checkout_opened' ? result.checkout : null;
    expect(checkout === null ? null : await holdOf(checkout)).toMatchObject({ state: 'captured', captured: 1500 });
  });

  it('example 6: lets the first of two at once have what it wants, and the other what is left', async () => {
    const customerId = await funded(2000);
    const settings = { pool: database.pool, settings: SETTINGS, clock: { now: () => START }, onPosted: () => {} };
    const [one, two] = [new LedgerBatches(settings), new LedgerBatches(settings)];
    const results = await Promise.all([
      one.checkout(opening(customerId, 1500)),
      two.checkout(opening(customerId, 1500)),
    ]);
    const parts = results.map((result) =>
      result.kind === 'checkout_opened' ? [result.checkout.state, result.checkout.walletPart] : [result.kind],
    );
    expect(parts.toSorted()).toEqual([
      ['completed', 1500],
      ['open', 500],
    ]);
    expect(await walletOf(customerId)).toMatchObject({ balance: 500, held: 500 });
  });

  it('holds nothing where the wallet is empty or is not to be used', async () => {
    const customerId = await funded(700);
    const none = { use: 'none', most: null, requireFull: false } as const;
    const checkout = await opened(opening(customerId, 5000, { wallet: none }));
    expect(checkout).toMatchObject({ state: 'open', walletPart: 0, paymentPart: 5000, holdNo: null, warnings: [] });
    expect(await walletOf(customerId)).toMatchObject({ balance: 700, held: 0 });
    const most = { use: 'max', most: 300, requireFull: false } as const;
    expect(await opened(opening(customerId, 5000, { wallet: most }))).toMatchObject({ walletPart: 300 });
  });

  it('takes nothing out of a wallet that is frozen or closed, and refuses where it is to pay all', async () => {
    const freeze = (customerId: string, status: 'frozen' | 'closed') =>
      run(
        [
          { op: 'change_status', merchantId: MERCHANT, customerId, currency: 'USD', status, ...{ pauseExpiry: null } },
        ].map((one) => ({ ...one, reason: 'why', actor: 'operator', op: 'change_status' as const })),
      );
    const customerId = await funded(2000);
    await freeze(customerId, 'frozen');
    const terms = { allowCreditPurchase: true };
    const checkout = await opened(opening(customerId, 5000, terms));
    expect(checkout).toMatchObject({ walletPart: 0, paymentPart: 5000, warnings: ['wallet_frozen'] });
    const requireFull = { use: 'max', most: null, requireFull: true } as const;
    expect(await open(opening(customerId, 1500, { wallet: requireFull }))).toMatchObject({
      refusal: { code: 'WALLET_FROZEN' },
    });
    // No credit is sold to it either.
    expect(await open(opening(customerId, 40, terms))).toMatchObject({
      refusal: { code: 'BELOW_GATEWAY_MINIMUM', withCreditPurchase: null },
    });
    const nobody = await funded(0);
    await freeze(nobody, 'closed');
    expect(await opened(opening(nobody, 5000))).toMatchObject({ walletPart: 0, warnings: ['wallet_closed'] });
    expect(await walletOf(nobody)).toMatchObject({ status: 'closed', openHolds: 0 });
  });

  it('example 4: sells credit with a purchase that is too small, if that is allowed', async () => {
    const customerId = await funded(10);
    expect(await open(opening(customerId, 40))).toMatchObject({
      refusal: { code: 'BELOW_GATEWAY_MINIMUM', minimum: 50, total: 40, available: 10, withCreditPurchase: 50 },
    });
    const checkout = await opened(opening(customerId, 40, { allowCreditPurchase: true }));
    expect(checkout).toMatchObject({ walletPart: 10, paymentPart: 30, creditBought: 20, adjusted: 'credit_bought' });
  });

  it('refuses what the wallet has to pay alone and cannot, and what has no wallet', async () => {
    const customerId = await funded(1000);
    const requireFull = { use: 'max', most: null, requireFull: true } as const;
    expect(await open(opening(customerId, 1001, { wallet: requireFull }))).toMatchObject({
      refusal: { code: 'INSUFFICIENT_WALLET_FUNDS', available: 1000, required: 1001, shortfall: 1 },
    });
    expect(await opened(opening(customerId, 1000, { wallet: requireFull }))).toMatchObject({ state: 'completed' });
    expect(await open(opening('cus_none', 10))).toMatchObject({ refusal: { code: 'CUSTOMER_NOT_FOUND' } });
    expect(await open(opening(customerId, 10, { currency: 'XXX' }))).toMatchObject({
      refusal: { code: 'UNSUPPORTED_CURRENCY' },
    });
  });

  it('knows a key again, in whichever wallet it was used, in the same batch and at once', async () => {
    const customerId = await funded(2000);
    const command = opening(customerId, 5000, { idempotencyKey: 'order-1' });
    const [first, second] = await run([command, { ...command, checkoutId: newId('checkout') }]);
    expect([first?.kind, second?.kind]).toEqual(['checkout_opened', 'opened_before']);
    expect(await open({ ...command, checkoutId: newId('checkout') })).toMatchObject({
      kind: 'opened_before',
      checkout: { checkoutId: command.checkoutId, state: 'open' },
    });
    const other = { ...command, fingerprint: 'cd'.repeat(32) };
    expect(await open(other)).toMatchObject({ refusal: { code: 'IDEMPOTENCY_KEY_REUSED' } });
    expect(await open({ ...other, currency: 'INR' })).toMatchObject({ refusal: { code: 'IDEMPOTENCY_KEY_REUSED' } });
    expect(await walletOf(customerId)).toMatchObject({ held: 2000, openHolds: 1 });
  });

  it('knows a key again that another wallet of the customer uses at the same moment', async () => {
    const settings = { pool: database.pool, settings: SETTINGS, clock: { now: () => START }, onPosted: () => {} };
    const first = opening(await funded(2000), 5000, { idempotencyKey: 'at-once' });
    const second = { ...first, currency: 'INR', fingerprint: 'cd'.repeat(32), checkoutId: newId('checkout') };
    const later = await transaction(database.pool, async (tx) => {
      await postBatch(tx, [first], { ...SETTINGS, now: START });
      const waiting = new LedgerBatches(settings).checkout(second);
      // Its wallet is free; it waits for the key.
      await eventually('the second to wait for the key', async () => (await waitingForLocks(database.pool)) > 0);
      return { waiting };
    });
    expect(await later.waiting).toMatchObject({ refusal: { code: 'IDEMPOTENCY_KEY_REUSED' } });
    const racing = opening(await funded(2000), 5000, { idempotencyKey: 'race' });
    const kinds = await Promise.all(
      ['USD', 'INR', 'USD', 'INR'].map(async (currency) => {
        const ledger = new LedgerBatches(settings);
        const fingerprint = currency === 'USD' ? 'ab'.repeat(32) : 'cd'.repeat(32);
        return (await ledger.checkout({ ...racing, currency, fingerprint, checkoutId: newId('checkout') })).kind;
      }),
    );
    expect(kinds.filter((kind) => kind === 'checkout_opened')).toHaveLength(1);
    expect(kinds.toSorted()).toEqual(['checkout_opened', 'opened_before', 'refused', 'refused']);
  });

  it('is refused while a process of the release before may still run', async () => {
    const other = await createTestDatabase();
    await other.pool.query("update installation set checkouts_from = now() + interval '7 days'");
    const settings = { pool: other.pool, settings: SETTINGS, clock: { now: () => START }, onPosted: () => {} };
    expect(await new LedgerBatches(settings).checkout(opening('cus_a', 5000))).toMatchObject({
      refusal: { code: 'CHECKOUTS_NOT_YET' },
    });
    await other.drop();
  });

  it('is no reason to refuse that a wallet has as many holds as the API places', async () => {
    const customerId = await funded(2000);
    const terms = { partial: false, expiresInSeconds: 900, reason: null, referenceObjectId: null, metadata: null };
    const places = Array.from({ length: 1000 }, (_, index) => ({
      ...({ op: 'place', merchantId: MERCHANT, customerId, currency: 'USD', amountMinor: 1, ...terms } as const),
      idempotencyKey: `h${index}`,
    }));
    await run(places);
    expect(await opened(opening(customerId, 5000))).toMatchObject({ walletPart: 1000, holdNo: 1001 });
  });
});

describe('the hold of a checkout', () => {
  const short = async (left: number) => {
    const customerId = await funded(2000);
    const checkout = await opened(opening(customerId, 5000));
    // Over by then.
    await debit(customerId, 2000 - left, later(2700));
    return { customerId, checkout };
  };

  it('is left alone by the API', async () => {
    const checkout = await opened(opening(await funded(2000), 5000));
    const { owner: _, ...own } = captureFor(checkout);
    const { owner: _o, ...release } = releaseFor(checkout);
    const { owner: _p, ...change } = prolongFor(checkout, START);
    const results = await run([own, release, change]);
    expect(results.map((one) => (one.kind === 'refused' ? one.refusal.code : one.kind))).toEqual(
      Array(3).fill('HOLD_OWNED'),
    );
  });

  it('is captured late out of what is there, and the rest is collected once, all or nothing', async () => {
    const { customerId, checkout } = await short(800);
    expect(await taken(checkout, later(2800))).toEqual([800, 1200]);
    const owing = { ...checkout, uncollected: 1200 };
    const [refused] = await run([collectFor(owing)], later(2801));
    expect(refused).toMatchObject({ refusal: { code: 'INSUFFICIENT_WALLET_FUNDS', available: 0, required: 1200 } });
    await credit(customerId, 1500, later(2802));
    const [collected] = await run([collectFor(owing)], later(2803));
    expect(collected).toMatchObject({ kind: 'captured', entry: { amountMinor: 1200 }, uncaptured: 0 });
    expect(await walletOf(customerId)).toMatchObject({ balance: 300 });
    expect(await holdOf(checkout)).toMatchObject({ state: 'expired', captured: 0, beyond: 2000, lateDebits: 2 });
    const [again] = await run([{ ...collectFor(owing), idempotencyKey: 'another' }], later(2804));
    expect(again).toMatchObject({ refusal: { code: 'HOLD_NOT_OPEN' } });
  });

  it('is captured late after its release too, and in a frozen wallet; nothing there is nothing taken', async () => {
    const one = await opened(opening(await funded(2000), 5000));
    await run([releaseFor(one)]);
    expect(await taken(one, later(5))).toEqual([2000, 0]);
    const { customerId, checkout } = await short(800);
    const freeze = {
      op: 'change_status',
      merchantId: MERCHANT,
      customerId,
      currency: 'USD',
      status: 'frozen',
    } as const;
    await run([{ ...freeze, pauseExpiry: null, reason: 'why', actor: 'operator' }], later(2750));
    expect(await taken(checkout, later(2800))).toEqual([800, 1200]);
    const empty = await short(0);
    expect(await taken(empty.checkout, later(2800))).toEqual([null, 2000]);
    expect(await entriesOf(empty.customerId)).toEqual([]);
  });

  it('gives what a claw-back left of it, and the rest can be collected though it was captured', async () => {
    const customerId = await funded(2000);
    const checkout = await opened(opening(customerId, 5000));
    await run([posting({ customerId, amountMinor: 1500, isCredit: false, eventType: 'refund_reversal' })]);
    expect(await taken(checkout, later(60))).toEqual([500, 1500]);
    await credit(customerId, 1500, later(61));
    const [collected] = await run([collectFor({ ...checkout, uncollected: 1500 })], later(62));
    expect(collected).toMatchObject({ kind: 'captured', entry: { amountMinor: 1500 } });
    expect(await holdOf(checkout)).toMatchObject({ state: 'captured', captured: 500, beyond: 1500, lateDebits: 1 });
  });

  it('ends later while a payment is under way, and at once where its end is over by then', async () => {
    const customerId = await funded(2000);
    const checkout = await opened(opening(customerId, 5000));
    await run([prolongFor(checkout, later(90_000))], later(60));
    await run([{ op: 'sweep', merchantId: MERCHANT, customerId, currency: 'USD' }], later(80_000));
    expect(await walletOf(customerId)).toMatchObject({ held: 2000 });
    await run([prolongFor(checkout, checkout.expiresAt)], later(85_000));
    await run([{ op: 'sweep', merchantId: MERCHANT, customerId, currency: 'USD' }], later(85_000));
    expect(await walletOf(customerId)).toMatchObject({ held: 0, openHolds: 0 });
    expect(await holdOf(checkout)).toMatchObject({ state: 'expired' });
  });
});
