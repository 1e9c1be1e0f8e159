import type { Wanted, Whose } from '../customers/resolve.ts';
import { decide } from '../payments/decide.ts';
import type { Fact, GroupToken } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { paymentAt, paymentKeyText } from '../payments/tables.ts';
import { type Bonuses, LossesMayChange } from './bonuses.ts';
import type { Checkouts } from './checkouts.ts';
import { type Contested, groupContested } from './contested.ts';
import { bothEffects, effectOf } from './effect.ts';
import { type ApplyTransaction, type EventWork, parkEvent, type Step } from './event-work.ts';
import { asKnown, type GroupTokens, isSilenced } from './groups.ts';
import { type Due, orderedBy } from './post-due.ts';
import { carriedToken, type Tokens } from './tokens.ts';
import type { TopUps } from './top-ups.ts';
import { UndoLog } from './undo.ts';
import { untaught } from './unread.ts';
import { hasWaited } from './waited.ts';

/** Whom each step asks for, and who answers. */
interface Asking {
  readonly wanted: readonly Asked[];
  readonly ask: (step: Step, carrying: Fact) => Asked;
  /** Whom each event names without a payment. */
  readonly named: ReadonlyMap<EventWork, Wanted | null>;
  readonly whose: Whose;
  readonly tokens: Tokens;
  readonly checkouts: Checkouts;
  readonly topUps: TopUps;
  readonly groups: GroupTokens;
  readonly contested: Contested;
  readonly bonuses: Bonuses;
}

/** Whom a step asks for as long as its fact carries this token of its group. */
export interface Asked {
  readonly wanted: Wanted | null;
  readonly token: GroupToken | null;
}

export const tokenIn = (fact: Fact): GroupToken | null => (fact.kind === 'payment' ? (fact.groupToken ?? null) : null);

/** What a batch of events comes to. */
export interface Decided {
  readonly payments: Map<string, Payment>;
  readonly due: readonly Due[];
  /** Of these, what is done for events that are parked. */
  readonly ofParked: readonly Due[];
}

type IndexedStep = readonly [index: number, step: Step];

/**
 * Posts what the first facts of a lone event order, and reads again what its other facts have to know of bonuses. Null where other events
 * are decided beside it.
 */
export type PostBetween =
  | ((
      decided: Pick<Decided, 'payments' | 'due'>,
      rest: readonly IndexedStep[],
    ) => Promise<Pick<Decided, 'payments'> & Pick<Asking, 'bonuses'>>)
  | null;

interface Input extends Asking {
  readonly steps: readonly Step[];
  readonly before: ReadonlyMap<string, Payment>;
  readonly postBetween: PostBetween;
}

/**
 * Runs the facts through `decide`, each on the payment as the ones before it left it. The facts of one event belong
 * together: if one of them cannot be applied now, the others do nothing either.
 */
export async function decideAll(
  batch: ApplyTransaction,
  works: readonly EventWork[],
  { steps, before, ...asking }: Input,
): Promise<Decided> {
  const { tokens, checkouts, topUps, groups, whose, named } = asking;
  const stepsOf = Map.groupBy([...steps.entries()], ([, { work }]) => work);
  let payments = new Map(before);
  const due: Due[] = [];
  const ofParked: Due[] = [];
  for (const work of works) {
    const asked = named.get(work) ?? null;
    const name = asked === null ? null : whose.find(asked);
    const refused = tokens.ofNaming(work)?.refused ?? null;
    if (refused !== null) work.verdict = parkEvent(refused.reason, refused.detail);
    else if (name !== null && 'problem' in name) work.verdict = parkEvent(name.problem, null);
    const own = stepsOf.get(work) ?? [];
    if (own.length === 0 && asked === null && refused === null) continue;
    const forget = [tokens.mark(), checkouts.mark(), topUps.mark()];
    const { life, ownDue, found, late, restore } = await decideWork(batch, { work, own, payments, due }, asking);
    if (work.verdict.state === 'applied') {
      // The name first: the link that its payments teach says which payment it comes from.
      if (asked !== null && name !== null && 'customerId' in name && whose.learn(asked, name.customerId, true))
        work.verdict = { ...work.verdict, effect: bothEffects(work.verdict.effect ?? 'none', 'recorded') };
      due.push(...ownDue);
      for (const learn of found) learn();
      payments = life;
    } else {
      for (const one of [restore, ...forget]) one();
      asking.contested.note(work);
      work.paymentId = groupContested(work) ?? work.paymentId;
      if (work.verdict.reason === 'named_late') for (const learn of late) learn();
      const steps = own.map(([, step]) => step);
      const prolonged = checkouts.noteParked(work, { steps, payments });
      due.push(...prolonged);
      ofParked.push(...prolonged);
      work.verdict = { ...work.verdict, effect: work.event.effect ?? 'none' };
      payments = checkouts.withParked(work, steps, untaught(work, payments));
    }
    groups.note(work);
  }
  return { payments, due, ofParked };
}

interface Own {
  readonly work: EventWork;
  readonly own: readonly IndexedStep[];
  /** Changed in place to what the event leaves, until `postBetween` reads others; `restore` takes that back. */
  readonly payments: Map<string, Payment>;
  /** What the events before it have ordered. */
  readonly due: readonly Due[];
}

/**
 * What the facts of one event come to, and what it teaches if it is applied, or if it names somebody too late; and what gives the payments back as they
 * were. A copy of all of them for each event that is applied would be as much as their number squared.
 */
async function decideWork(
  batch: ApplyTransaction,
  { work, own, payments, due }: Own,
  asking: Omit<Asking, 'named'> & Pick<Input, 'postBetween'>,
) {
  const { whose, tokens, checkouts, topUps, groups, postBetween } = asking;
  let { bonuses } = asking;
  let life = payments;
  const log = new UndoLog();
  const restore = log.mark();
  let ownDue: Due[] = [];
  const found: (() => void)[] = [];
  const late: (() => void)[] = [];
  for (const [position, [index, step]] of own.entries()) {
    if (bonuses.mayBeStale(step.key, { payments: life, due: [due, ownDue] })) {
      if (postBetween === null) throw new LossesMayChange();
      ({ payments: life, bonuses } = await postBetween({ payments: life, due: ownDue }, own.slice(position)));
      ownDue = [];
    }
    const payment = bonuses.withLosses(paymentAt(life, step.key));
    const { decision, fact, asked, customer } = decideStep(
      batch,
      { index, step, payment, life },
      { ...asking, bonuses },
    );
    const text = paymentKeyText(step.key);
    const was = payments.get(text);
    if (life === payments) log.note(() => void (was === undefined ? payments.delete(text) : payments.set(text, was)));
    life.set(text, decision.payment);
    const from = { payment: decision.payment, provider: work.event.provider, traceParent: work.traceParent };
    const ordered = orderedBy(bonuses.withLivesLeft(decision));
    ownDue.push(...checkouts.note(step, payment, decision.payment));
    for (const one of ordered) ownDue.push({ ...from, ordered: one });
    tokens.note(groups.carriedBy(step, decision.payment), decision.payment);
    topUps.note(step, payment, decision.payment);
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
  return { life, ownDue, found, late, restore };
}

interface OneStep {
  readonly index: number;
  readonly step: Step;
  readonly payment: Payment;
  readonly life: ReadonlyMap<string, Payment>;
}

function decideStep(
  { services, now }: ApplyTransaction,
  { index, step, payment, life }: OneStep,
  { wanted, ask, whose, tokens, checkouts, topUps, groups, contested, bonuses }: Omit<Asking, 'named'>,
) {
  const { work, source, key } = step;
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
    carried: carriedToken(tokens, work, {
      ...{ fact, payment, checkout: checkouts.named(fact, payment), topUp: topUps.named(source, fact) },
    }),
    currencies: services.settings.currencies,
    maxBonusRatio: services.maxBonusRatio,
    paidExpiryMinDays: services.settings.lotRule.paidExpiryMinDays,
    offers: bonuses.offersBeside(life),
    waitIsOver: hasWaited(services.waitSeconds, work.event, now),
    isContested: contested.has(work, { fact, key }, payment),
    namingIsOver: services.namingWaitSeconds === 0 || hasWaited(services.namingWaitSeconds, work.event, now),
  });
  return { decision, fact, asked, customer };
}
