import { Whose } from '../customers/resolve.ts';
import { invariant } from '../errors.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { lockPayments } from '../payments/store.ts';
import { paymentAt, paymentKeyText } from '../payments/tables.ts';
import type { PostingCount } from '../telemetry/metrics.ts';
import { UNOBSERVED } from '../telemetry/observe.ts';
import { Bonuses } from './bonuses.ts';
import { contestedPayments } from './contested.ts';
import { type Asked, type Decided, decideAll, type PostBetween, tokenIn } from './decide-events.ts';
import { closeDismissedBefore } from './dismiss.ts';
import { type ApplyTransaction, type EventWork, parkEvent, type Step, sourceKey } from './event-work.ts';
import { GroupTokens } from './groups.ts';
import { withPaymentsOfRefunds } from './payments-of-refunds.ts';
import { postDue } from './post-due.ts';
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
  return { asked, asking, opened };
}

/** Decides every fact in order and posts what is due in one batch. */
export async function settleFacts(
  batch: ApplyTransaction,
  works: readonly EventWork[],
  mode: 'together' | 'alone',
): Promise<Settled> {
  const { tx, now } = batch;
  const { asked, asking, opened } = await prepare(batch, works);
  const { before, whose, tokens, topUps } = asked;
  const { settings, observe: { tracing } = UNOBSERVED } = batch.services;
  const postingCounts: PostingCount[] = [];
  let hasPosted = false;
  const post = async (decided: Decided) => {
    hasPosted = true;
    const posted = await postDue(tx, { ...decided, isTraced: tracing.isOn }, { ...settings, now });
    postingCounts.push(...posted.postingCounts);
    return posted.payments;
  };
  const postBetween: PostBetween = async (decided, rest) => {
    const payments = await post(decided);
    const own = rest.flatMap(([index]) => asking[index] ?? []);
    return { payments, bonuses: await Bonuses.read(batch, own, { before: payments, whose }) };
  };
  const decideAndPost = async () => {
    const decided = await decideAll(batch, works, { ...asked, postBetween: mode === 'alone' ? postBetween : null });
    const isUndone = hasPosted && works.some(({ verdict }) => verdict.state !== 'applied');
    if (isUndone) throw new NotAppliedAfterAll(decided.payments);
    await whose.save(tx, { currencies: settings.currencies, now });
    return post(decided);
  };
  try {
    // What a lone event posted and taught is undone by the savepoint if it is parked after all.
    const after = await (mode === 'alone' ? tx.savepoint(decideAndPost) : decideAndPost());
    await tokens.save(tx, now);
    await topUps.save(tx, now);
    return { before, after, opened, postingCounts };
  } catch (error) {
    const [work] = works;
    if (error instanceof NotAppliedAfterAll) {
      await whose.save(tx, { currencies: settings.currencies, now });
      return { before, after: error.payments, opened, postingCounts: [] };
    }
    if (!(error instanceof PostingRefused) || mode === 'together' || work === undefined) throw error;
    work.verdict = { ...parkEvent(...reasonOf(error.refusal)), effect: work.event.effect ?? 'none' };
    return { before, after: untaught(work, before), opened, postingCounts: [] };
  }
}

/** Of a lone event something was posted, and then one of its facts could not be applied. */
class NotAppliedAfterAll extends Error {
  override readonly name = 'NotAppliedAfterAll';
  readonly payments: Map<string, Payment>;

  constructor(payments: Map<string, Payment>) {
    super('a fact of the event cannot be applied');
    this.payments = payments;
  }
}
