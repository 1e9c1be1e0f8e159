import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import type { DisputeFact, Fact, RefundFact } from '../../src/payments/fact.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { applyDueOnce, startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { happenings } from '../support/payments.ts';
import { rounds } from '../support/rounds.ts';
import { stripeDispute, stripePayment, stripeRefund } from '../support/signing.ts';

/**
 * F15: providers tell of a payment in any order, and tell everything again. Every order of six events of a payment, and
 * random ones of more, end in the state that they have in order; signed, received and applied as a worker does it. That
 * the pure core bears any order is tested in test/payments/settle.property.test.ts.
 */

let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createTestDatabase();
  inbox = await startInbox(database, { sources: [testSource('stripe')], works: false });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

/** What happens to a payment, in words that `happenings` reads, in the order in which it happens. */
interface History {
  readonly told: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * The places of a history's events, in the batches in which they come and are applied. The second time that an event
 * comes it is the same delivery, and the third time the same news in another event.
 */
type Plan = readonly (readonly number[])[];

interface Play extends History {
  readonly plan: Plan;
}

interface OfPayment {
  readonly paymentId: string;
  readonly metadata: Readonly<Record<string, string>>;
}

const factsOf = ({ told }: History) => happenings(told).filter((one) => one !== 'waited');

/** The event of Stripe that tells a fact. A second one, for the same, is of another type where Stripe has one. */
function bodyOf(fact: Fact, of: OfPayment, isSecond: boolean): string {
  const amount = fact.amountMinor ?? 0;
  switch (fact.kind) {
    case 'payment': {
      const type = ({ pending: 'processing', failed: 'payment_failed', succeeded: 'succeeded' } as const)[fact.state];
      // A try that is pending or failed was made before the one that succeeded, however late its news are.
      const earlier = fact.state === 'succeeded' ? {} : { createdSeconds: 1_793_188_700 };
      return stripePayment({ ...of, ...earlier, type, amount, currency: 'usd', customer: null });
    }
    case 'refund':
      return stripeRefund({ ...of, ...refundEvent(fact, isSecond), amount, currency: 'usd' });
    case 'dispute':
      return stripeDispute({ ...of, ...disputeEvent(fact, isSecond), amount, currency: 'usd' });
    case 'movement':
      throw new Error('Stripe tells no such fact');
  }
}

function refundEvent({ refundId, state }: RefundFact, isSecond: boolean) {
  const usual = state === 'failed' ? 'failed' : state === 'pending' ? 'created' : 'updated';
  return { refundId, type: isSecond ? 'updated' : usual, status: state } as const;
}

function disputeEvent({ disputeId, state }: DisputeFact, isSecond: boolean) {
  if (state === 'open') return { disputeId, type: isSecond ? 'updated' : 'created', status: 'under_review' } as const;
  if (state === 'won') return { disputeId, type: isSecond ? 'closed' : 'funds_reinstated', status: 'won' } as const;
  return { disputeId, type: isSecond ? 'funds_withdrawn' : 'closed', status: 'lost' } as const;
}

function bodiesOf(play: Play, of: OfPayment): string[][] {
  const facts = factsOf(play);
  const told = facts.map((): string[] => []);
  return play.plan.map((batch) =>
    batch.map((place) => {
      const [fact, before] = [facts[place], told[place]];
      if (fact === undefined || before === undefined) throw new Error(`the history has no event ${place}`);
      const body = before.length === 1 ? before[0] : undefined;
      const next = body ?? bodyOf(fact, of, before.length > 1);
      before.push(next);
      return next;
    }),
  );
}

/** Beyond this the receiver begins to turn away. */
const AT_ONCE = 1_000;

/** Delivers and applies the events of many payments, step by step. @returns how each of the payments ended */
async function playAll(plays: readonly Play[], services: ApplyServices): Promise<readonly unknown[]> {
  const ids = plays.map(() => crypto.randomUUID());
  const customers = await makeCustomers(database.pool, ids);
  const batchesOf = plays.map((play, index) => {
    const metadata = { ...play.metadata, wallet_customer_id: customers[index] ?? '' };
    return bodiesOf(play, { paymentId: `pi_${ids[index]}`, metadata });
  });
  for (let step = 0; batchesOf.some((batches) => step < batches.length); step += 1) {
    const bodies = batchesOf.flatMap((batches) => batches[step] ?? []);
    for (let at = 0; at < bodies.length; at += AT_ONCE) {
      await Promise.all(bodies.slice(at, at + AT_ONCE).map((body) => inbox.deliver(body)));
    }
    await applyDue(services);
  }
  const { rows } = await database.pool.query<{ ended: unknown }>(HOW_THEY_ENDED, [ids, MERCHANT]);
  expect(rows).toHaveLength(plays.length);
  return rows.map((row) => row.ended);
}

/** What a worker does with the jobs that are due, until none is left. */
async function applyDue(services: ApplyServices): Promise<void> {
  for (;;) {
    const results = await applyDueOnce(services);
    if (results.length === 0) return;
    expect(results.filter(({ status }) => status !== 'completed')).toEqual([]);
  }
}

/**
 * Which part took or gave how much may depend on which of them settled first; the sums may not. Each table is asked for the merchant by itself, as
 * Citus wants it of a join.
 */
const HOW_THEY_ENDED = `
  select jsonb_build_object(
    'balance', (
      select balance from wallet w where w.merchant_id = $2 and w.customer_id = p.customer_id and w.currency = 'USD'),
    'payment', jsonb_build_array(p.state, p.purpose, p.currency, p.amount_paid, p.credit_amount, p.posted_credit),
    'parts', (
      select jsonb_agg(jsonb_build_array(t.kind, t.part_id, t.state, t.amount, t.currency) order by t.kind, t.part_id)
      from payment_part t where t.merchant_id = $2 and t.payment_id = p.payment_id),
    'posted', (
      select jsonb_build_array(sum(t.posted_credit), sum(t.posted_take))
      from payment_part t where t.merchant_id = $2 and t.payment_id = p.payment_id),
    'events', (
      select jsonb_agg(distinct e.state) from provider_event e where e.merchant_id = $2 and e.payment_id = p.payment_id)) as ended
  from unnest($1::text[]) with ordinality as k (id, place)
  join payment p on p.merchant_id = $2 and p.payment_id = 'pi_' || k.id
  order by k.place`;

function permutations(places: readonly number[]): number[][] {
  if (places.length === 0) return [[]];
  return places.flatMap((place, index) => permutations(places.toSpliced(index, 1)).map((rest) => [place, ...rest]));
}

const oneByOne = (order: readonly number[]): Plan => order.map((place) => [place]);

/** Three orders in one another, so that everything comes three times. */
function threeTimes(order: readonly number[], at: number, orders: readonly (readonly number[])[]): Plan {
  const [second, third] = [389, 577].map((step) => orders[(at * step + 1) % orders.length] ?? order);
  return oneByOne(order.flatMap((place, index) => [place, second?.[index] ?? place, third?.[index] ?? place]));
}

const patient = () => inbox.services;
/** What waits is due again at once, so that the wait of an early refund is over before the next event comes. */
const impatient = (): ApplyServices => ({ ...inbox.services, waitSeconds: 0 });

interface Way {
  readonly name: string;
  plan(order: readonly number[], at: number, orders: readonly (readonly number[])[]): Plan;
  services(): ApplyServices;
}

const WAYS: readonly Way[] = [
  { name: 'one by one', plan: oneByOne, services: patient },
  { name: 'everything three times', plan: threeTimes, services: patient },
  { name: 'all in one batch', plan: (order) => [order], services: patient },
  { name: 'one by one, each wait over before the next', plan: oneByOne, services: impatient },
];

/** With what the wallet has of each in the end, in minor units. */
const HISTORIES: readonly (History & { readonly balance: number })[] = [
  {
    told: 'paid 1000; refund a 400; refund b 600; dispute d 1000; dispute d 1000 lost; dispute d 1000 won',
    balance: 0,
  },
  {
    told: 'pending; failed; paid 1000; refund a 300 pending; refund a 300; refund a 300 failed',
    balance: 1000,
  },
  {
    told: 'paid 1000; refund a 333; refund b 333; refund c 1 pending; dispute d 100; dispute d 100 lost',
    metadata: { wallet_credit_amount: '1200' },
    // 766 of 1000 paid are undone, and so 919.2 of 1200 granted, rounded down.
    balance: 1200 - 919,
  },
  {
    told: 'paid 900; refund a 200; refund b 300; refund b 300 failed; dispute d 900; dispute d 900 lost',
    metadata: { wallet_purpose: 'order' },
    balance: 200,
  },
  {
    told: 'paid 1000; dispute d 400; dispute d 400 lost; dispute f 300 lost; dispute f 300 won; refund a 250',
    balance: 1000 - 400 - 250,
  },
  {
    told: 'paid 1000; refund a 1000; refund a 1000 failed; refund b 700; dispute d 1000; dispute d 1000 lost',
    balance: 0,
  },
];

describe('a payment of six events', () => {
  it.each(WAYS)('ends the same in every order: $name', { timeout: 300_000 }, async (way) => {
    const isWhole = (history: History) => history === HISTORIES[0] && way === WAYS[0];
    const plays = HISTORIES.flatMap((history) => playsOf(history, way, isWhole(history) ? 1 : rounds(24, 4, 1)));
    const ended = await playAll(plays, way.services());
    const inOrder = new Map(HISTORIES.map(({ told }) => [told, ended[plays.findIndex((play) => play.told === told)]]));
    for (const { told, balance } of HISTORIES) {
      expect(inOrder.get(told)).toMatchObject({ balance, events: ['applied'] });
    }
    const seen = plays.map((play, at) => ({ ...play, ended: ended[at] }));
    expect(seen).toEqual(plays.map((play) => ({ ...play, ended: inOrder.get(play.told) })));
  });
});

/** The history in every order, or in every n-th, of which the first is the one in which it happened. */
function playsOf(history: History, way: Way, everyNth: number): readonly Play[] {
  const every = permutations(factsOf(history).map((_, place) => place));
  expect(every).toHaveLength(720);
  const orders = every.filter((_, at) => at % everyNth === 0);
  return orders.map((order, at) => ({ ...history, plan: way.plan(order, at, orders) }));
}

const amountMinor = fc.oneof(fc.constantFrom(1, 33, 100, 333, 500, 999, 1000), fc.integer({ min: 1, max: 1500 }));

/** Refunds or disputes in some of the states that they have one after another. */
const anyParts = (kind: 'refund' | 'dispute', maxLength: number, ...states: readonly string[]) =>
  fc
    .array(fc.tuple(amountMinor, fc.subarray([...states], { minLength: 1 })), { maxLength })
    .map((parts) => parts.flatMap(([minor, some], at) => some.map((state) => `${kind} ${at} ${minor} ${state}`)));

/** A payment that succeeds, of seven to fourteen events. */
const anyHistory = fc.record({
  told: fc
    .tuple(
      fc.subarray(['pending', 'failed']),
      fc.constant(['paid 1000']),
      anyParts('refund', 4, 'pending', 'succeeded', 'failed'),
      anyParts('dispute', 2, 'open', 'lost', 'won'),
    )
    .map((groups) => groups.flat())
    .filter(({ length }) => length > 6 && length < 15)
    .map((events) => events.join('; ')),
  metadata: fc.constantFrom<Record<string, string>>(
    {},
    { wallet_credit_amount: '1200' },
    { wallet_credit_amount: '7' },
    { wallet_purpose: 'order' },
  ),
});

/** Another order of it, with repetitions, in batches of four at the most. */
const anyPlay: fc.Arbitrary<Play> = anyHistory.chain((history) => {
  const places = factsOf(history).map((_, place) => place);
  const plan = fc
    .array(fc.constantFrom(...places), { maxLength: 6 })
    .chain((again) => fc.shuffledSubarray([...places, ...again], { minLength: places.length + again.length }))
    .chain((order) => fc.array(fc.integer({ min: 1, max: 4 }), { minLength: order.length }).map(cutting(order)));
  return fc.record({ told: fc.constant(history.told), metadata: fc.constant(history.metadata), plan });
});

const cutting =
  (order: readonly number[]) =>
  (sizes: readonly number[]): Plan => {
    const ends = sizes.map((_, index) => sizes.slice(0, index + 1).reduce((sum, size) => sum + size, 0));
    return ends.map((end, index) => order.slice(ends[index - 1] ?? 0, end)).filter((batch) => batch.length > 0);
  };

describe('a payment of more than six events', () => {
  it.each([
    ['while early refunds wait', patient],
    ['when no wait is long enough', impatient],
  ])('ends the same in random orders, batches and repetitions, %s', { timeout: 300_000 }, async (_, services) => {
    const someAtOnce = fc.array(anyPlay, { minLength: 1, maxLength: 20, size: 'max' });
    await fc.assert(
      fc.asyncProperty(someAtOnce, async (plays) => {
        const inOrder = plays.map((play) => ({ ...play, plan: oneByOne(factsOf(play).map((_, place) => place)) }));
        const ended = await playAll([...inOrder, ...plays], services());
        expect(ended.slice(plays.length)).toEqual(ended.slice(0, plays.length));
      }),
      { numRuns: rounds(3, 60) },
    );
  });
});
