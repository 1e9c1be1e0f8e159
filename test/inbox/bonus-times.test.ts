import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { reassignPayment } from '../../src/customers/reassign.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import type { PlaceHold } from '../../src/ledger/holds/hold.ts';
import { listOpenLots } from '../../src/ledger/lots/read.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import type { ChangeStatus } from '../../src/ledger/status/status.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';

/**
 * Aim: a bonus is lost to its customer once, whatever ends, holds and the clocks of several processes do meanwhile. Whoever decides goes by
 * the time of the wallet, which is that of its last entry where another process has dated that later than this one's clock.
 */

const DAY = 86_400_000;
const QUEUE = 'apply-provider-event';

let database: TestDatabase;
let inbox: TestInbox;
/** How far the clock of the process at work is ahead. */
let ahead = 0;
const clock = { now: () => new Date(Date.now() + ahead) };

beforeAll(async () => {
  database = await createTestDatabase(30);
  inbox = await startInbox(database, { clock, works: false, sharesJobs: false });
});
beforeEach(() => {
  ahead = 0;
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

interface Payer {
  readonly customerId: string;
  readonly paymentId: string;
}

let number = 0;

async function newPayer(): Promise<Payer> {
  number += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`times${number}`]);
  return { customerId, paymentId: `pi_times_${number}` };
}

/** Delivers events and applies all of them in one transaction, as far as they may be. */
async function tell(bodies: readonly string[]): Promise<void> {
  const order: string[] = [];
  for (const body of bodies) {
    const receipt = await inbox.deliver(body);
    if (receipt.kind === 'stored') order.push(receipt.eventId);
  }
  for (;;) {
    const fetched = await inbox.boss.fetch<{ eventId: string }>(QUEUE, { batchSize: 50, includeMetadata: true });
    if (fetched.length === 0) return;
    const jobs = fetched.map(({ id, retryCount, retryLimit, data }) => ({ id, retryCount, retryLimit, ...data }));
    await applyEvents(
      inbox.services,
      jobs.toSorted((one, other) => order.indexOf(one.eventId) - order.indexOf(other.eventId)),
    );
  }
}

async function tellEach(bodies: readonly string[]): Promise<void> {
  for (const body of bodies) await tell([body]);
}

const TERMS = { wallet_bonus_amount: '1000', wallet_bonus_expires_in_days: '90' };
const paid = ({ customerId, paymentId }: Payer, terms: Record<string, string> = TERMS) =>
  stripePaymentSucceeded({ paymentId, amount: 9000, metadata: { wallet_customer_id: customerId, ...terms } });
const refunded = ({ paymentId }: Payer, amount: number, refundId = `re_${paymentId}`) =>
  stripeRefund({ paymentId, refundId, amount, currency: 'usd', status: 'succeeded' });
const disputed = ({ paymentId }: Payer, status: 'needs_response' | 'lost' | 'won', amount = 9000) =>
  stripeDispute({
    ...{ type: status === 'needs_response' ? 'created' : 'closed', paymentId, disputeId: `du_${paymentId}` },
    ...{ amount, currency: 'usd', status },
  });

/** What the API and the sweep do, by the clock of the process at work. */
const act = (commands: readonly LedgerCommand[]) =>
  transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: clock.now() }));
const walletKey = ({ customerId }: Payer) => ({ merchantId: MERCHANT, customerId, currency: 'USD' });
const hold = (payer: Payer, amountMinor: number, idempotencyKey: string): PlaceHold => ({
  ...{ op: 'place', ...walletKey(payer), amountMinor, partial: true, expiresInSeconds: 604_800 },
  ...{ reason: null, referenceObjectId: null, metadata: null, idempotencyKey },
});

const status = (payer: Payer, to: 'active' | 'frozen'): ChangeStatus => ({
  ...{
    op: 'change_status',
    ...walletKey(payer),
    status: to,
    pauseExpiry: to === 'frozen',
    reason: 'x',
    actor: 'key:x',
  },
});

async function entriesOf({ customerId }: Payer): Promise<string> {
  const { rows } = await database.pool.query<{ text: string }>(
    `select string_agg(case when is_credit then '+' else '-' end || amount || ' ' || event_type, ', ' order by seq) as text
     from entry where customer_id = $1 and event_type <> 'merchant_adjustment'`,
    [customerId],
  );
  return rows[0]?.text ?? '';
}

async function walletOf(payer: Payer) {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [payer.customerId]);
  return wallets.find(({ currency }) => currency === 'USD');
}

async function lotsOf({ customerId }: Payer): Promise<readonly string[]> {
  const filter = { currency: 'USD', kind: null, expiresBefore: null };
  const lots = await listOpenLots(autocommit(database.pool), { merchantId: MERCHANT, customerId }, filter);
  const days = (end: Date | null) => Math.round(((end?.getTime() ?? 0) - clock.now().getTime()) / DAY);
  return lots.map(({ kind, remaining, expiresAt }) => `${kind} ${remaining} for ${days(expiresAt)} days`);
}

/** What of the payment's bonus the customer was given and not taken again, and how much of that has expired. */
async function bonusOf({ customerId, paymentId }: Payer): Promise<{ readonly left: number; readonly expired: number }> {
  const key = `src_stripe:bonus:${paymentId}`;
  const { rows } = await database.pool.query<{ left: number; expired: number }>(
    `select
       (select coalesce(sum(case when is_credit then amount else -amount end), 0)::int from entry
        where customer_id = $1 and event_type in ('bonus', 'bonus_reversal') and reference_object_id in ($2, $3, $4)) as left,
       (select coalesce(sum(expired), 0)::int from (select expired, origin_key, customer_id from lot
        union all select expired, origin_key, customer_id from closed_lot) l where l.customer_id = $1 and l.origin_key = $5) as expired`,
    [customerId, paymentId, `re_${paymentId}`, `du_${paymentId}`, key],
  );
  return rows[0] ?? { left: 0, expired: 0 };
}

const reassign = ({ paymentId }: Payer, { customerId }: Payer) =>
  reassignPayment(
    { pool: database.pool, settings: SETTINGS, clock, onPosted: () => {} },
    { merchantId: MERCHANT, paymentId, sourceId: null, customerId, reason: 'x', force: true, actor: 'api' },
  );

describe.each([
  ['one by one', tellEach],
  ['in one batch', tell],
])('a bonus in a wallet whose last entry another process dated later, told %s', (_, tellAll) => {
  it('is not taken back as well once its hold lets go of it', async () => {
    const payer = await newPayer();
    await tell([paid(payer)]);
    await tell([disputed(payer, 'needs_response')]);
    ahead = 91 * DAY;
    await act([posting({ customerId: payer.customerId, amountMinor: 1, isCredit: true })]);
    ahead = 89 * DAY;
    await tellAll([disputed(payer, 'won'), refunded(payer, 9000)]);
    expect(await entriesOf(payer)).toBe(
      '+9000 payment, +1000 bonus, -1 credit_expired, -999 credit_expired, -9000 payment_reversal',
    );
    expect((await walletOf(payer))?.balance).toBe(1);
  });
});

describe('a bonus that goes to another customer', () => {
  it('does not go where its end is past by the time of either wallet', async () => {
    const [payer, other] = [await newPayer(), await newPayer()];
    await tell([paid(payer)]);
    ahead = 91 * DAY;
    await act([posting({ customerId: other.customerId, amountMinor: 1, isCredit: true })]);
    ahead = 89 * DAY;
    await reassign(payer, other);
    expect([(await walletOf(payer))?.balance, (await walletOf(other))?.balance]).toEqual([0, 9001]);
    expect(await entriesOf(payer)).toBe('+9000 payment, +1000 bonus, -1000 credit_expired, -9000 payment_reversal');
  });

  it('does not go as what was spent of it, where what was left has expired by the time of its wallet', async () => {
    const [payer, other] = [await newPayer(), await newPayer()];
    await tell([paid(payer)]);
    await act([posting({ customerId: payer.customerId, amountMinor: 400, isCredit: false })]);
    ahead = 91 * DAY;
    await act([posting({ customerId: payer.customerId, amountMinor: 1, isCredit: true })]);
    ahead = 89 * DAY;
    await reassign(payer, other);
    expect([(await walletOf(payer))?.balance, (await walletOf(other))?.balance]).toEqual([1, 9000]);
  });

  it('comes back for a part that is undone though another process dated the wallet’s last entry later', async () => {
    const [payer, other] = [await newPayer(), await newPayer()];
    await tell([paid(payer)]);
    ahead = 85 * DAY;
    await tell([disputed(payer, 'lost', 4500)]);
    await reassign(payer, other);
    ahead = 95 * DAY;
    await act([posting({ customerId: other.customerId, amountMinor: 1, isCredit: true })]);
    ahead = 86 * DAY;
    await tell([disputed(payer, 'won', 4500)]);
    // By the clock at work, five days from the wallet's time.
    expect(await lotsOf(other)).toEqual(['promo 500 for 14 days']);
  });
});

describe('a bonus in a wallet whose credit is paused', () => {
  it('goes to another customer with the time that it had left when the pause began', async () => {
    const [payer, other] = [await newPayer(), await newPayer()];
    await tell([paid(payer)]);
    ahead = 30 * DAY;
    await act([status(payer, 'frozen')]);
    ahead = 100 * DAY;
    await reassign(payer, other);
    expect([(await walletOf(payer))?.balance, await lotsOf(other)]).toEqual([0, ['promo 1000 for 60 days']]);
  });

  it('does not go to another customer where it was over before the pause', async () => {
    const [payer, other] = [await newPayer(), await newPayer()];
    await tell([paid(payer)]);
    ahead = 89 * DAY;
    await act([hold(payer, 10_000, 'job')]);
    ahead = 91 * DAY;
    await act([status(payer, 'frozen')]);
    ahead = 94 * DAY;
    await reassign(payer, other);
    expect(await lotsOf(other)).toEqual([]);
  });
});

type Told = 'refund a third' | 'dispute' | 'lose' | 'win' | 'pay again';
type Deed = 'spend' | 'credit' | 'hold' | 'release' | 'sweep' | 'pause' | 'thaw';
type Step =
  | { readonly told: readonly { readonly which: number; readonly what: Told }[] }
  | { readonly deed: Deed; readonly amount: number }
  | { readonly days: number };

const which = fc.nat(1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      told: fc.array(
        fc.record({
          which,
          what: fc.constantFrom<Told>('refund a third', 'dispute', 'dispute', 'lose', 'win', 'win', 'pay again'),
        }),
        { minLength: 1, maxLength: 4 },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      deed: fc.constantFrom<Deed>('spend', 'credit', 'hold', 'hold', 'release', 'sweep', 'pause', 'thaw', 'thaw'),
      amount: fc.constantFrom(1, 300, 1000, 9000, 20_000),
    }),
  },
  // Another process's clock may be behind; most often time passes.
  { weight: 2, arbitrary: fc.record({ days: fc.constantFrom(1, 6, 30, 40, 89, -1, -2, -5) }) },
);

it('is lost once, whatever ends, holds and clocks do: by its end or taken back, and never twice', async () => {
  const lossesOf = async (payers: readonly Payer[]) => {
    const losses = [];
    for (const payer of payers) losses.push(await bonusOf(payer));
    return losses;
  };
  const history = async (steps: readonly Step[]) => {
    ahead = 0;
    const first = await newPayer();
    const payers = [first, { ...first, paymentId: `${first.paymentId}b` }];
    const refunds = [0, 0];
    let holds = 0;
    const bodyOf = ({ which: index, what }: { which: number; what: Told }): string => {
      const payer = payers[index] ?? first;
      if (what === 'pay again') return paid(payer);
      if (what === 'dispute') return disputed(payer, 'needs_response');
      if (what === 'lose' || what === 'win') return disputed(payer, what === 'lose' ? 'lost' : 'won');
      refunds[index] = (refunds[index] ?? 0) + 1;
      return refunded(payer, Math.min(9000, 3000 * (refunds[index] ?? 0)));
    };
    await tell(payers.map((one) => paid(one)));
    for (const one of steps) {
      if ('days' in one) ahead = Math.max(0, ahead + one.days * DAY);
      else if ('told' in one) await tell(one.told.map(bodyOf));
      else {
        const { customerId } = first;
        const { amount: amountMinor } = one;
        if (one.deed === 'hold') holds += 1;
        const deeds: Record<Deed, LedgerCommand> = {
          spend: posting({ customerId, amountMinor, isCredit: false }),
          credit: posting({ customerId, amountMinor, isCredit: true }),
          hold: hold(first, amountMinor, `h${holds}`),
          release: { op: 'release', ...walletKey(first), holdNo: holds, reason: null },
          sweep: { op: 'sweep', ...walletKey(first) },
          pause: status(first, 'frozen'),
          thaw: status(first, 'active'),
        };
        await act([deeds[one.deed]]);
      }
      for (const { left, expired } of await lossesOf(payers)) expect(left).toBeGreaterThanOrEqual(expired);
    }
    // At last nothing is held, all is over, and all that was paid goes back.
    await tell(payers.map((one) => disputed(one, 'won')));
    await act([status(first, 'active')]);
    ahead += 400 * DAY;
    await act([{ op: 'sweep', ...walletKey(first) }]);
    await tell(payers.map((one) => refunded(one, 9000, `re_${one.paymentId}`)));
    await act([{ op: 'sweep', ...walletKey(first) }]);
    for (const { left, expired } of await lossesOf(payers)) expect(left).toBe(expired);
  };
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 10 }), history), {
    numRuns: rounds(25, 300),
  });
}, 600_000);
