import type { PgBoss } from 'pg-boss';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { bigint, boolean, integer, text } from '../db/codec.ts';
import { EVENTS_SHARE_JOBS } from '../db/installation.ts';
import { bossDatabase } from '../db/queues.ts';
import { rowsOf, statement } from '../db/statement.ts';
import type { Tx } from '../db/transaction.ts';
import type { EventKey } from './events.ts';
import { type DueEvent, inJobs, insertSharedJobs } from './shared-jobs.ts';

/** Events that jobs are to apply: now, or not before a time. */
interface DueEvents {
  readonly events: readonly EventKey[];
  readonly startAfter?: Date;
}

/** Enqueues the application of events in the transaction that changed them, each by a job of its own and for its turn. */
export async function enqueue(boss: PgBoss, tx: Tx, { events, startAfter }: DueEvents): Promise<void> {
  if (events.length === 0) return;
  const { turnOf, release } = await takeTurns(tx, events, 'alone');
  const when = startAfter === undefined ? {} : { startAfter };
  // pg-boss serves the highest priority first.
  const jobs = events.map((event) => ({
    ...{ merchantId: event.merchantId, eventId: event.eventId, priority: -turnOf(event) },
    ...when,
  }));
  await insertApplyJobs(boss, tx, { jobs, release });
}

/** The same for the events that a transaction stored: with few jobs, each of many events, once every worker does such jobs. */
export async function enqueueTogether(boss: PgBoss, tx: Tx, events: readonly Omit<DueEvent, 'turn'>[]): Promise<void> {
  if (events.length === 0) return;
  const { turnOf, release } = await takeTurns(tx, events, 'together');
  const inTurn = events.map((event) => ({ ...event, turn: turnOf(event) }));
  if (release === 'closed') return insertSharedJobs(boss, tx, inJobs(inTurn));
  const jobs = inTurn.map(({ merchantId, eventId, turn }) => ({ merchantId, eventId, priority: -turn }));
  return insertApplyJobs(boss, tx, { jobs, release });
}

interface NewApplyJob extends EventKey {
  readonly priority: number;
  readonly startAfter?: Date;
}

/** Whether a worker of the release before may still run. */
type Release = 'open' | 'closed';

/** Adds jobs that apply events, in the caller's transaction. A worker of the release before can only read those that do not name the merchant. */
export async function insertApplyJobs(
  boss: PgBoss,
  tx: Tx,
  { jobs, release }: { readonly jobs: readonly NewApplyJob[]; readonly release: Release },
): Promise<void> {
  const rows = jobs.map(({ merchantId, eventId, ...when }) => ({
    data: release === 'open' ? { eventId } : { merchantId, eventId },
    ...when,
  }));
  await boss.insert('apply-provider-event', rows, { db: bossDatabase(tx) });
}

/** Of a merchant's events behind so many others, all have the same turn: the oldest of them is first. */
const MAX_COUNTED = 2_500;

/** Retries that are not due yet may stand at the head of the queue; past this many of them, nobody looks for the first that is due. */
const MAX_SKIPPED = 100;

/**
 * Gives events their turns, so that no merchant's events wait for the length of another's backlog: start-time fair queueing (Goyal,
 * Vin and Cheng, 1996). A merchant's events have one turn after another, beginning behind those of its own that wait, or at the
 * turn that is served now if none do. So every turn has about one event of each merchant, a batch holds as many of one as of another,
 * and nothing that waits is overtaken for ever. The numbers begin anew when the queue is empty. Two transactions at once may give
 * the same turns, which costs nobody more than that.
 * @param events that wait, in this transaction or before it
 * @param kind by jobs of one event each, or, once no worker of the release before runs, of many; each kind has turns of its own
 * @returns the turn of each; the lowest is served first
 */
async function takeTurns(
  tx: Tx,
  events: readonly EventKey[],
  kind: 'alone' | 'together',
): Promise<{ readonly turnOf: (event: EventKey) => number; readonly release: Release }> {
  const bounds = { mayShare: kind === 'together', maxCounted: MAX_COUNTED, maxSkipped: MAX_SKIPPED };
  const rows = await ofEachMerchant(events, (merchantId, own) =>
    TAKE_TURNS.all(tx, { merchantId, events: own, ...bounds }),
  );
  const turns = new Map(rows.map(({ eventId, turn }) => [eventId, turn]));
  // A job of an event that is not there any more does nothing, whenever it is served.
  const turnOf = ({ eventId }: EventKey) => turns.get(eventId) ?? 0;
  return { turnOf, release: rows.some(({ isClosed }) => isClosed) ? 'closed' : 'open' };
}

/** Each event is looked up by its key: a join by a plan that was made while there were few, and is kept, read all events of all time for each delivery. */
const TAKE_TURNS = statement({
  name: 'take-turns',
  params: {
    ...{ merchantId: text, events: rowsOf({ eventId: text }), mayShare: boolean },
    ...{ maxCounted: bigint, maxSkipped: bigint },
  },
  row: { eventId: text, turn: integer, isClosed: boolean },
  text: ({ merchantId, events, mayShare, maxCounted, maxSkipped }) => {
    const waitingIn = (state: 'pending' | 'waiting') => `
        (select '${state}' as state, count(*) as waiting from (
          select from provider_event p
          where p.merchant_id = ${merchantId} and p.state = '${state}' and exists (select from own where own.state = '${state}')
          limit ${maxCounted} + (select count(*) from asked)) ${state})`;
    return `
    with release as materialized (select ${EVENTS_SHARE_JOBS} as is_closed),
    head as materialized (
      select coalesce(-max(j.priority) filter (where j.start_after <= now()), -min(j.priority), 0) as turn
      from (
        select priority, start_after from pgboss.job
        where name = (
            select case when ${mayShare} and is_closed then 'apply-provider-events' else 'apply-provider-event' end from release)
          and state < 'active' and not blocked
        order by priority desc, created_on limit ${maxSkipped}) j),
    asked as (
      select e.event_id, e.state, row_number() over (partition by e.state order by a.place) as place
      from ${events('a', { merchantId, position: 'place' })}
      cross join lateral (
        select x.event_id, x.state from provider_event x
        where x.merchant_id = a.merchant_id and x.event_id = a.event_id offset 0) e),
    own as (select state, count(*) as count from asked group by state),
    line as materialized (
      select own.state, greatest(coalesce(w.waiting, 0) - own.count, 0) as before
      from own left join (${waitingIn('pending')} union all ${waitingIn('waiting')}) w using (state))
    select a.event_id, least(head.turn + least(line.before + a.place - 1, ${maxCounted}), 2147483647)::integer as turn, r.is_closed
    from asked a join line using (state) cross join head cross join release r`;
  },
});
