import type { Tx } from '../db/transaction.ts';
import { insertAccounts, type NewAccount, selectAccounts } from '../merchants/account-store.ts';
import { type AccountVerdict, isOfKind, isOfSource, judgeAccounts, type SourceAccount } from '../merchants/accounts.ts';
import type { Source, SourceKey } from '../merchants/source.ts';
import { hadPaymentsBefore, lockSharedPayments, paymentsThatPosted } from '../payments/lookups.ts';
import { paymentKeyText } from '../payments/tables.ts';
import { type EventWork, parkEvent, sourceKey } from './event-work.ts';

/** The accounts that events taught, by the id of the event. */
export type LearntAccounts = ReadonlyMap<string, readonly NewAccount[]>;

/**
 * Parks what is not the source's to post: events of another account than its own, and events of a payment that another
 * source of the same account has posted.
 * @returns the same works, those parked without facts; and what they teach once they are applied
 */
export async function parkForeignEvents(
  tx: Tx,
  works: readonly EventWork[],
  now: Date,
): Promise<{ readonly works: readonly EventWork[]; readonly learnt: LearntAccounts }> {
  const { verdicts, learnt } = await judge(tx, works, now);
  const judged = works.map((work, index) => {
    const verdict = verdicts[index];
    return verdict?.kind === 'foreign'
      ? { ...work, facts: [], naming: null, ties: [], verdict: foreign(work, verdict) }
      : work;
  });
  return { works: await parkKnownElsewhere(tx, judged, verdicts), learnt };
}

/**
 * Notes the accounts of the events that were applied; a parked one teaches nothing.
 * @throws {DatabaseError} if another source has learnt the account meanwhile; applied again, the event is foreign
 */
export async function learnAccounts(
  tx: Tx,
  { works, learnt }: { readonly works: readonly EventWork[]; readonly learnt: LearntAccounts },
  now: Date,
): Promise<void> {
  const applied = works.filter(({ verdict }) => verdict.state === 'applied');
  const wanted = applied.flatMap(({ event }) => learnt.get(event.eventId) ?? []);
  if (wanted.length === 0 || (await insertAccounts(tx, wanted, now)) === wanted.length) return;
  const known = await selectAccounts(tx, wanted, wanted);
  const isNoted = (one: NewAccount) => known.some((row) => row.account === one.account && isOfSource(row, one));
  if (!wanted.every(isNoted)) throw new Error('another source has learnt the account meanwhile');
}

const usable = (work: EventWork): work is EventWork & { source: Source } =>
  work.source !== null && (work.facts.length > 0 || work.naming !== null || work.ties.length > 0);

async function judge(
  tx: Tx,
  works: readonly EventWork[],
  now: Date,
): Promise<{ readonly verdicts: readonly (AccountVerdict | null)[]; readonly learnt: LearntAccounts }> {
  const learnt = new Map<string, readonly NewAccount[]>();
  const asked = works.filter(usable);
  if (asked.length === 0) return { verdicts: works.map(() => null), learnt };
  const named = asked.flatMap(({ source: { provider, mode }, accounts }) =>
    accounts.map((account) => ({ provider, mode, account })),
  );
  const sources = asked.map(({ source }) => source);
  const known = [...(await selectAccounts(tx, sources, named))];
  const taughtNow = new Set<SourceKey>();
  const verdicts: (AccountVerdict | null)[] = [];
  for (const work of works) {
    const verdict = usable(work) ? await judgeOne(tx, work, known) : null;
    // The event that teaches may still be parked, and then taught nothing. One by one, the second finds what the first has left.
    if (verdict?.kind === 'foreign' && verdict.owner !== null && taughtNow.has(verdict.owner))
      throw new Error('two sources tell of one account at once');
    verdicts.push(verdict);
    if (!usable(work) || verdict?.kind !== 'own' || verdict.learnt.length === 0) continue;
    const { merchantId, sourceId, provider, mode } = work.source;
    const rows = verdict.learnt.map((one) => ({
      merchantId,
      sourceId,
      provider,
      mode,
      ...one,
      learntFrom: 'event' as const,
    }));
    learnt.set(work.event.eventId, rows);
    // What one event of a batch teaches, the next ones know.
    for (const row of rows.map((one) => ({ ...one, createdAt: now }))) {
      known.push(row);
      taughtNow.add(row);
    }
  }
  return { verdicts, learnt };
}

async function judgeOne(
  tx: Tx,
  { source, accounts: named }: EventWork & { source: Source },
  known: readonly SourceAccount[],
): Promise<AccountVerdict> {
  const ofKind = known.filter((one) => isOfKind(one, source));
  const owners = ofKind.filter((one) => named.includes(one.account) && !isOfSource(one, source));
  const isKnown = ofKind.some((one) => isOfSource(one, source));
  const before =
    owners.length > 0 && !isKnown
      ? await hadPaymentsBefore(
          tx,
          source,
          owners.map((one) => one.createdAt),
        )
      : [];
  return judgeAccounts({
    source,
    named,
    known: ofKind,
    wasThereBefore: (owner) => before[owners.indexOf(owner)] ?? false,
  });
}

function foreign(
  { event }: EventWork,
  { account, owner }: Extract<AccountVerdict, { kind: 'foreign' }>,
): EventWork['verdict'] {
  const whose = owner?.merchantId === event.merchantId ? `, which is the account of ${owner.sourceId}` : '';
  // Ids alone are quoted: whatever else stands in that field may be personal.
  const named = /^[\w.-]{1,100}$/.test(account) ? account : 'another account';
  return parkEvent('foreign_account', `the event is of ${named}${whose}`);
}

/**
 * Two sources that tell of one payment in the same batch: neither has posted it yet. Applied one by one, as a batch is that
 * fails, the second finds what the first posted.
 */
function refuseBothAtOnce(shared: readonly { readonly work: EventWork; readonly paymentId: string }[]): void {
  const tellers = new Map<string, string>();
  for (const { work, paymentId } of shared) {
    const { provider, sourceId } = work.event;
    const name = `${provider} ${paymentId}`;
    const first = tellers.get(name) ?? sourceId;
    if (first !== sourceId) throw new Error('two sources of one account tell of a payment at once');
    tellers.set(name, first);
  }
}

/** A payment belongs to the source that posted it first. Where both had posted it before that was known, both go on. */
async function parkKnownElsewhere(
  tx: Tx,
  works: readonly EventWork[],
  verdicts: readonly (AccountVerdict | null)[],
): Promise<readonly EventWork[]> {
  const shared = works.flatMap((work, index) => {
    const verdict = verdicts[index];
    if (verdict?.kind !== 'own' || verdict.sharedWith.length === 0) return [];
    return work.facts.map(({ paymentId }) => ({ work, paymentId, others: verdict.sharedWith }));
  });
  if (shared.length === 0) return works;
  refuseBothAtOnce(shared);
  await lockSharedPayments(
    tx,
    shared.map(({ work, paymentId }) => `${work.event.provider} ${work.source?.mode} ${paymentId}`),
  );
  const posted = await paymentsThatPosted(
    tx,
    shared.flatMap(({ work, paymentId, others }) => [
      { ...sourceKey(work), paymentId },
      ...others.map(({ merchantId, sourceId }) => ({ merchantId, sourceId, paymentId })),
    ]),
  );
  const held = new Map<EventWork, EventWork['verdict']>();
  for (const { work, paymentId, others } of shared) {
    if (posted.has(paymentKeyText({ ...sourceKey(work), paymentId }))) continue;
    const owner = others.find((one) => posted.has(paymentKeyText({ ...one, paymentId })));
    if (owner === undefined) continue;
    held.set(work, parkEvent('known_at_another_source', `the payment is known at ${owner.sourceId}`));
  }
  return works.map((work) => {
    const verdict = held.get(work);
    return verdict === undefined ? work : { ...work, facts: [], verdict };
  });
}
