import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import { type Wanted, Whose } from '../customers/resolve.ts';
import type { Pool } from '../db/pool.ts';
import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import type { LedgerSettings } from '../ledger/store.ts';
import type { Source } from '../merchants/source.ts';
import type { Sources } from '../merchants/sources.ts';
import type { Rate } from '../money.ts';
import { decide } from '../payments/decide.ts';
import type { Fact, GroupToken, Naming, ParkReason, Tie } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { lockPayments } from '../payments/store.ts';
import { type PaymentKey, paymentAt, paymentKeyText } from '../payments/tables.ts';
import type { Logger } from '../telemetry/log.ts';
import type { PostingCount } from '../telemetry/metrics.ts';
import { type Observe, UNOBSERVED } from '../telemetry/observe.ts';
import { Bonuses } from './bonuses.ts';
import { type Contested, contestedPayments, groupContested } from './contested.ts';
import { closeDismissedBefore } from './dismiss.ts';
import { bothEffects, effectOf } from './effect.ts';
import type { LockedEvent, Verdict } from './events.ts';
import { asKnown, GroupTokens, isSilenced } from './groups.ts';
import { withPaymentsOfRefunds } from './payments-of-refunds.ts';
import { type Due, orderedBy, postDue } from './post-due.ts';
import { PostingRefused, reasonOf } from './refused-posting.ts';
import { withFormerRead } from './reread.ts';
import { carriedToken, Tokens } from './tokens.ts';
import { TopUps } from './top-ups.ts';
import { toOpen, type UnreadNews, unreadPayments, untaught, withUnread } from './unread.ts';
import { hasWaited } from './waited.ts';
import { wantedBy, wantedByNaming } from './wanted.ts';

export interface ApplyServices {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly sources: Sources;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How many times what was paid a top-up may grant. */
  readonly maxBonusRatio: Rate;
  /** How long an early refund waits for its payment. */
  readonly waitSeconds: number;
  /** How long a payment that names nobody waits for its order or subscription to name somebody; 0 for not at all. */
  readonly namingWaitSeconds: number;
  /** Called after a commit that left something to announce. */
  readonly onPosted: () => void;
  readonly observe?: Observe;
}

/** An event being applied: what its body says, and what has been decided about it so far. */
export interface EventWork {
  readonly event: LockedEvent;
  /** Null if it is not configured any more; then there are no facts either. */
  readonly source: Source | null;
  facts: readonly Fact[];
  /** Whom it names of a group of payments. */
  readonly naming: Naming | null;
  /** Which payments it says are of a group. */
  readonly ties: readonly Tie[];
  /** The accounts at the provider that its body names. */
  readonly accounts: readonly string[];
  /** The payment that its body names, be it applied or not. */
  paymentId: string | null;
  /** The payments of an event that could not be read: only that they were heard of is noted. */
  readonly unread: readonly UnreadNews[];
  /** The span in which it is applied, if traces are collected. */
  readonly traceParent: string | null;
  verdict: Verdict;
}

export function parkEvent(reason: ParkReason, detail: string | null): Verdict {
  return { state: 'parked', reason, detail, effect: null };
}

/** The source an event came in by, as the first half of a payment's key. */
export function sourceKey({ event }: EventWork): { merchantId: string; sourceId: string } {
  return { merchantId: event.merchantId, sourceId: event.sourceId };
}

interface Step {
  readonly work: EventWork;
  readonly source: Source;
  readonly fact: Fact;
  readonly key: PaymentKey;
}

/** Whom each step asks for, and who answers. */
interface Asking {
  readonly wanted: readonly Asked[];
  readonly ask: (step: Step, carrying: Fact) => Asked;
  /** Whom each event names without a payment. */
  readonly named: ReadonlyMap<EventWork, Wanted | null>;
  readonly whose: Whose;
  readonly tokens: Tokens;
  readonly topUps: TopUps;
  readonly groups: GroupTokens;
  readonly contested: Contested;
  readonly bonuses: Bonuses;
}

/** Whom a step asks for as long as its fact carries this token of its group. */
interface Asked {
  readonly wanted: Wanted | null;
  readonly token: GroupToken | null;
}

const tokenIn = (fact: Fact): GroupToken | null => (fact.kind === 'payment' ? (fact.groupToken ?? null) : null);

/** The payments of a batch by their keys, before it and after. */
export interface Settled {
  readonly before: ReadonlyMap<string, Payment>;
  readonly after: ReadonlyMap<string, Payment>;
  /** Those that nothing was heard of before, by their keys. */
  readonly opened: ReadonlySet<string>;
  readonly postingCounts: readonly PostingCount[];
}

/** The transaction that a batch of events is applied in. */
export interface ApplyTransaction {
  readonly services: ApplyServices;
  readonly tx: Tx;
  readonly now: Date;
}

/** Decides every fact in order and posts what is due in one batch. */
export async function settleFacts(
  batch: ApplyTransaction,
  works: readonly EventWork[],
  mode: 'together' | 'alone',
): Promise<Settled> {
  const { tx, now } = batch;
  for (const work of works) work.facts = await withPaymentsOfRefunds(tx, sourceKey(work), work.facts);
  const steps = works.flatMap((work) => {
    const { source, facts } = work;
    invariant(source !== null || facts.length === 0, 'facts without a source');
    if (source === null) return [];
    return facts.map((fact): Step => ({ work, source, fact, key: { ...sourceKey(work), paymentId: fact.paymentId } }));
  });
  const keys = [...new Map(steps.map(({ key }) => [paymentKeyText(key), key])).values()];
  const locked = await lockPayments(
    tx,
    [...steps.map(({ source, key }) => toOpen(source, key)), ...unreadPayments(works)],
    now,
  );
  await closeDismissedBefore(tx, { sources: batch.services.sources, payments: keys }, now);
  const { opened } = locked;
  const before = withUnread(await withFormerRead(tx, await locked.read(), steps), works);
  const groups = await GroupTokens.read(tx, steps, before);
  const carrying = steps.map((step) => ({ ...step, fact: groups.carriedBy(step, paymentAt(before, step.key)) }));
  const tokens = await Tokens.lock(
    tx,
    carrying.map(({ fact, key }) => ({ fact, payment: paymentAt(before, key) })),
    works,
  );
  const topUps = await TopUps.lock(tx, carrying, before);
  const ask = ({ work, source, key }: Step, carrying: Fact): Asked => {
    const payment = paymentAt(before, key);
    const fact = tokens.named(carrying, payment);
    const carried = carriedToken(tokens, work, { fact, payment, topUp: topUps.named(source, fact) });
    const waitIsOver = hasWaited(batch.services.waitSeconds, work.event, now);
    return { wanted: wantedBy(work.event, { source, fact, payment, carried, waitIsOver }), token: tokenIn(carrying) };
  };
  const wanted = carrying.map((step) => ask(step, step.fact));
  const announced = new Map(works.map((work) => [work, wantedByNaming(work, tokens.ofNaming(work)?.token ?? null)]));
  const whose = await Whose.read(
    tx,
    [...wanted.map((one) => one.wanted), ...announced.values()].filter((one) => one !== null),
  );
  const contested = await contestedPayments(tx, carrying, before);
  const asking = carrying.map((step, index) => ({ ...step, wanted: wanted[index]?.wanted ?? null }));
  const bonuses = await Bonuses.read(batch, asking, { before, whose });
  const asked = { steps, before, wanted, ask, named: announced, whose, tokens, topUps, groups, contested, bonuses };
  const { payments: decided, due } = decideAll(batch, works, asked);
  const { settings, observe: { tracing } = UNOBSERVED } = batch.services;
  try {
    // If the posting of a lone event is refused, the savepoint undoes what it taught, and the event can still be parked.
    const post = async () => {
      await whose.save(tx, { currencies: settings.currencies, now });
      return postDue(tx, { due, payments: decided, isTraced: tracing.isOn }, { ...settings, now });
    };
    const { payments: after, postingCounts } = await (mode === 'alone' ? tx.savepoint(post) : post());
    await tokens.save(tx, now);
    await topUps.save(tx, now);
    return { before, after, opened, postingCounts };
  } catch (error) {
    const [work] = works;
    if (!(error instanceof PostingRefused) || mode === 'together' || work === undefined) throw error;
    work.verdict = { ...parkEvent(...reasonOf(error.refusal)), effect: work.event.effect ?? 'none' };
    return { before, after: untaught(work, before), opened, postingCounts: [] };
  }
}

/**
 * Runs the facts through `decide`, each on the payment as the ones before it left it. The facts of one event belong
 * together: if one of them cannot be applied now, the others do nothing either.
 */
function decideAll(
  batch: ApplyTransaction,
  works: readonly EventWork[],
  { steps, before, ...asking }: Pick<Settled, 'before'> & Asking & { readonly steps: readonly Step[] },
): { payments: Map<string, Payment>; due: Due[] } {
  const { tokens, topUps, groups, whose, named } = asking;
  const stepsOf = Map.groupBy([...steps.entries()], ([, { work }]) => work);
  let payments = new Map(before);
  const due: Due[] = [];
  for (const work of works) {
    const asked = named.get(work) ?? null;
    const name = asked === null ? null : whose.find(asked);
    const refused = tokens.ofNaming(work)?.refused ?? null;
    if (refused !== null) work.verdict = parkEvent(refused.reason, refused.detail);
    else if (name !== null && 'problem' in name) work.verdict = parkEvent(name.problem, null);
    const own = stepsOf.get(work) ?? [];
    if (own.length === 0 && asked === null && refused === null) continue;
    asking.bonuses.refuseStale(own, { payments, due });
    const { life, ownDue, found, late } = decideWork(batch, { work, own, payments }, asking);
    if (work.verdict.state === 'applied') {
      // The name first: the link that its payments teach says which payment it comes from.
      if (asked !== null && name !== null && 'customerId' in name && whose.learn(asked, name.customerId, true))
        work.verdict = { ...work.verdict, effect: bothEffects(work.verdict.effect ?? 'none', 'recorded') };
      due.push(...ownDue);
      for (const learn of found) learn();
      for (const [, step] of own) {
        const payment = paymentAt(life, step.key);
        tokens.note(groups.carriedBy(step, payment), payment);
        topUps.note(step, paymentAt(payments, step.key), payment);
      }
      payments = life;
    } else {
      asking.contested.note(work);
      work.paymentId = groupContested(work) ?? work.paymentId;
      if (work.verdict.reason === 'named_late') for (const learn of late) learn();
      work.verdict = { ...work.verdict, effect: work.event.effect ?? 'none' };
      payments = untaught(work, payments);
    }
    groups.note(work);
  }
  return { payments, due };
}

interface Own {
  readonly work: EventWork;
  readonly own: readonly (readonly [index: number, step: Step])[];
  readonly payments: ReadonlyMap<string, Payment>;
}

/** What the facts of one event come to, and what it teaches if it is applied, or if it names somebody too late. */
function decideWork({ services, now }: ApplyTransaction, { work, own, payments }: Own, asking: Omit<Asking, 'named'>) {
  const { wanted, ask, whose, tokens, topUps, groups, contested, bonuses } = asking;
  const life = new Map(payments);
  const ownDue: Due[] = [];
  const found: (() => void)[] = [];
  const late: (() => void)[] = [];
  for (const [index, step] of own) {
    const { source, key } = step;
    const payment = bonuses.withLosses(paymentAt(life, key));
    const carrying = groups.carriedBy(step, payment);
    const fact = tokens.named(asKnown(carrying, payment), payment);
    // An event before it in this batch may have told of its group's token.
    const before = wanted[index];
    const current = before?.token === tokenIn(carrying) ? before : ask(step, carrying);
    const asked = isSilenced(carrying, fact) ? null : current.wanted;
    const customer = asked === null ? ({ problem: 'no_customer' } as const) : whose.find(asked);
    const decision = decide({
      payment,
      fact,
      source,
      customer,
      isAssigned: work.event.assignedCustomerId !== null,
      carried: carriedToken(tokens, work, { fact, payment, topUp: topUps.named(source, fact) }),
      currencies: services.settings.currencies,
      maxBonusRatio: services.maxBonusRatio,
      paidExpiryMinDays: services.settings.lotRule.paidExpiryMinDays,
      offers: bonuses.offersBeside(life),
      waitIsOver: hasWaited(services.waitSeconds, work.event, now),
      isContested: contested.has(work, { fact, key }, payment),
      namingIsOver: services.namingWaitSeconds === 0 || hasWaited(services.namingWaitSeconds, work.event, now),
    });
    life.set(paymentKeyText(key), decision.payment);
    const from = { payment: decision.payment, provider: work.event.provider, traceParent: work.traceParent };
    for (const ordered of orderedBy(bonuses.withLivesLeft(decision))) ownDue.push({ ...from, ordered });
    const { customerId, state: paymentState } = decision.payment;
    if (asked !== null && 'customerId' in customer) {
      // A token is of one payment, which may teach a link; a name is told of all of them.
      if (fact.kind !== 'payment' || fact.tokenBy === undefined)
        late.push(() => whose.learnLate(asked, customer.customerId));
      const isCertain = paymentState === 'succeeded' || (fact.kind === 'payment' && fact.named !== undefined);
      if (customer.customerId === customerId) found.push(() => whose.learn(asked, customer.customerId, isCertain));
    }
    // Of several facts in one event, the first that cannot be applied speaks for the event.
    const { state, effect } = work.verdict;
    const verdict = state === 'applied' ? { reason: null, detail: null, ...decision.verdict } : work.verdict;
    const did = effectOf(payment, decision.payment, decision.due);
    work.verdict = { ...verdict, effect: bothEffects(effect ?? 'none', did) };
  }
  return { life, ownDue, found, late };
}
