import { Whose } from '../customers/resolve.ts';
import { invariant } from '../errors.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { lockPayments } from '../payments/store.ts';
import { paymentAt, paymentKeyText } from '../payments/tables.ts';
import type { PostingCount } from '../telemetry/metrics.ts';
import { UNOBSERVED } from '../telemetry/observe.ts';
import { Bonuses } from './bonuses.ts';
import { Checkouts } from './checkouts.ts';
import { contestedPayments } from './contested.ts';
import { type Asked, type Decided, decideAll, type PostBetween, tokenIn } from './decide-events.ts';
import { closeDismissedBefore } from './dismiss.ts';
import { dueOnceKnown } from './due-once-known.ts';
import { type ApplyTransaction, type EventWork, parkEvent, type Step, sourceKey } from './event-work.ts';
import { GroupTokens } from './groups.ts';
import { withPaymentsOfRefunds } from './payments-of-refunds.ts';
import { type PostedDue, postDue } from './post-due.ts';
import { PostingRefused, reasonOf } from './refused-posting.ts';
import { withFormerRead } from './reread.ts';
import { carriedToken, Tokens } from './tokens.ts';
import { TopUps } from './top-ups.ts';
import { toOpen, unreadPayments, untaught, withUnread } from './unread.ts';
import { hasWaited } from './waited.ts';
import { wantedBy, wantedByNaming } from './wanted.ts';

/** The payments of a batch by their keys, before it and after. */
export interface Settled {
  readonly before: ReadonlyMap<string, Payment>;
  readonly after: ReadonlyMap<string, Payment>;
  /** Those that nothing was heard of before, by their keys. */
  readonly opened: ReadonlySet<string>;
  readonly postingCounts: readonly PostingCount[];
}

/** Locks and reads all that facts are decided by. */
async function prepare(batch: ApplyTransaction, works: readonly EventWork[]) {
  const { tx, now } = batch;
  for (const work of works) work.facts = await withPaymentsOfRefunds(tx, sourceKey(work), work.facts);
  const steps = works.flatMap(stepsIn);
  const keys = [...new Map(steps.map(({ key }) => [paymentKeyText(key), key])).values()];
  const locked = await lockPayments(
    tx,
    [...steps.map(({ source, key }) => toOpen(source, key)), ...unreadPayments(works)],
    now,
  );
  await closeDismissedBefore(tx, { sources: batch.services.sources, payments: keys }, now);
  const { opened } = locked;
  const known = withUnread(await withFormerRead(tx, await locked.read(), steps), works);
  const groups = await GroupTokens.read(tx, steps, known);
  const carrying = steps.map((step) => ({ ...step, fact: groups.carriedBy(step, paymentAt(known, step.key)) }));
  const tokens = await Tokens.lock(
    tx,
    carrying.map(({ fact, key }) => ({ fact, payment: paymentAt(known, key) })),
    works,
  );
  const checkouts = await Checkouts.lock(tx, { steps: carrying, before: known, now });
  const before = checkouts.withTerms(known);
  const topUps = await TopUps.lock(tx, carrying, before);
  const ask = ({ work, source, key }: Step, carrying: Fact): Asked => {
    const payment = paymentAt(before, key);
    const fact = tokens.named(carrying, payment);
    const named = { checkout: checkouts.named(fact, payment), topUp: topUps.named(source, fact) };
    const carried = carriedToken(tokens, work, { fact, payment, ...named });
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
  const asked = {
    ...{ steps, before, wanted, ask, named: announced, whose, tokens, checkouts },
    ...{ topUps, groups, contested, bonuses },
  };
  return { asked, asking, opened };
}

function stepsIn(work: EventWork): readonly Step[] {
  const { source, facts } = work;
  invariant(source !== null || facts.length === 0, 'facts without a source');
  if (source === null) return [];
  return facts.map((fact) => ({ work, source, fact, key: { ...sourceKey(work), paymentId: fact.paymentId } }));
}

/** Posts what facts order, in portions if need be. */
class Poster {
  readonly #batch: ApplyTransaction;
  readonly #checkouts: Checkouts;
  readonly counts: PostingCount[] = [];
  hasPosted = false;

  constructor(batch: ApplyTransaction, checkouts: Checkouts) {
    this.#batch = batch;
    this.#checkouts = checkouts;
  }

  /** Posts what is due, and then what could not be known before it was known what the wallet paid of a checkout. */
  async post(decided: Pick<Decided, 'payments' | 'due'>): Promise<Map<string, Payment>> {
    this.hasPosted = true;
    const { payments, ofHolds } = await this.#post(decided);
    const paid = dueOnceKnown(this.#checkouts.heard(ofHolds, payments));
    if (paid.payments.length === 0) return payments;
    const known = new Map([...payments, ...paid.payments.map((one) => [paymentKeyText(one), one] as const)]);
    // In wallets that are locked by now.
    return (await this.#post({ due: paid.due, payments: known })).payments;
  }

  async #post({ payments, due }: Pick<Decided, 'payments' | 'due'>): Promise<PostedDue> {
    const { services, tx, now } = this.#batch;
    const { settings, observe: { tracing } = UNOBSERVED } = services;
    const posted = await postDue(tx, { payments, due, isTraced: tracing.isOn }, { ...settings, now });
    this.counts.push(...posted.postingCounts);
    return posted;
  }
}

/** Decides every fact in order and posts what is due in one batch. */
export async function settleFacts(
  batch: ApplyTransaction,
  works: readonly EventWork[],
  mode: 'together' | 'alone',
): Promise<Settled> {
  const { tx, now } = batch;
  const { asked, asking, opened } = await prepare(batch, works);
  const { before, whose, tokens, checkouts, topUps } = asked;
  const { currencies } = batch.services.settings;
  const poster = new Poster(batch, checkouts);
  const postBetween: PostBetween = async (decided, rest) => {
    const payments = await poster.post(decided);
    const own = rest.flatMap(([index]) => asking[index] ?? []);
    return { payments, bonuses: await Bonuses.read(batch, own, { before: payments, whose }) };
  };
  const decideAndPost = async () => {
    const decided = await decideAll(batch, works, { ...asked, postBetween: mode === 'alone' ? postBetween : null });
    const isUndone = poster.hasPosted && works.some(({ verdict }) => verdict.state !== 'applied');
    if (isUndone) throw new NotAppliedAfterAll(decided);
    const due = [...decided.due, ...(await checkouts.backToAgreed(tx, decided.payments))];
    await whose.save(tx, { currencies, now });
    return poster.post({ ...decided, due });
  };
  const save = async (after: ReadonlyMap<string, Payment>): Promise<Settled> => {
    await tokens.save(tx, now);
    await checkouts.save(tx, { before, after });
    await topUps.save(tx, now);
    return { before, after, opened, postingCounts: poster.counts };
  };
  try {
    // What a lone event posted and taught is undone by the savepoint if it is parked after all.
    return await save(await (mode === 'alone' ? tx.savepoint(decideAndPost) : decideAndPost()));
  } catch (error) {
    const [work] = works;
    if (error instanceof NotAppliedAfterAll) {
      poster.counts.length = 0;
      await whose.save(tx, { currencies, now });
      const { payments, ofParked: due } = error.decided;
      return save(await poster.post({ payments, due }));
    }
    if (!(error instanceof PostingRefused) || mode === 'together' || work === undefined) throw error;
    work.verdict = { ...parkEvent(...reasonOf(error.refusal)), effect: work.event.effect ?? 'none' };
    return { before, after: untaught(work, before), opened, postingCounts: [] };
  }
}

/** Of a lone event something was posted, and then one of its facts could not be applied. */
class NotAppliedAfterAll extends Error {
  override readonly name = 'NotAppliedAfterAll';
  readonly decided: Decided;

  constructor(decided: Decided) {
    super('a fact of the event cannot be applied');
    this.decided = decided;
  }
}
