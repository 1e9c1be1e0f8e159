import type { PgBoss } from 'pg-boss';
import { bigint, integer, text } from '../db/codec.ts';
import { bossDatabase } from '../db/queues.ts';
import { rowsOf, statement } from '../db/statement.ts';
import type { Tx } from '../db/transaction.ts';

/** Events that jobs are to apply: now, or not before a time. */
interface DueEvents {
  readonly eventIds: readonly string[];
  readonly startAfter?: Date;
}

/** Enqueues the application of events in the transaction that stored or changed them, each for its turn. */
export async function enqueue(boss: PgBoss, tx: Tx, { eventIds, startAfter }: DueEvents): Promise<void> {
  if (eventIds.length === 0) return;
  const turns = await takeTurns(tx, eventIds);
  const when = startAfter === undefined ? {} : { startAfter };
  // pg-boss serves the highest priority first.
  const jobs = eventIds.map((eventId) => ({ eventId, priority: -(turns.get(eventId) ?? 0), ...when }));
  await insertApplyJobs(boss, tx, jobs);
}

interface NewApplyJob {
  readonly eventId: string;
  readonly priority: number;
  readonly startAfter?: Date;
}

/** Adds jobs that apply events, in the caller's transaction. */
export async function insertApplyJobs(boss: PgBoss, tx: Tx, jobs: readonly NewApplyJob[]): Promise<void> {
  const rows = jobs.map(({ eventId, ...when }) => ({ data: { eventId }, ...when }));
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
 * @param eventIds of events that wait, in this transaction or before it
 * @returns the turn of each, by its id; the lowest is served first
 */
async function takeTurns(tx: Tx, eventIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const events = eventIds.map((eventId) => ({ eventId }));
  const turns = await TAKE_TURNS.all(tx, { events, maxCounted: MAX_COUNTED, maxSkipped: MAX_SKIPPED });
  return new Map(turns.map(({ eventId, turn }) => [eventId, turn]));
}

const TAKE_TURNS = statement({
  name: 'take-turns',
  acrossMerchants: 'a job names its event alone',
  params: { events: rowsOf({ eventId: text }), maxCounted: bigint, maxSkipped: bigint },
  row: { eventId: text, turn: integer },
  text: ({ events, maxCounted, maxSkipped }) => `
    with head as materialized (
      select coalesce(-max(j.priority) filter (where j.start_after <= now()), -min(j.priority), 0) as turn
      from (
        select priority, start_after from pgboss.job
        where name = 'apply-provider-event' and state < 'active' and not blocked
        order by priority desc, created_on limit ${maxSkipped}) j),
    asked as (
      select e.event_id, e.merchant_id, e.state,
        row_number() over (partition by e.merchant_id, e.state order by a.place) as place
      from ${events('a', { position: 'place' })} join provider_event e using (event_id)),
    line as materialized (
      select own.merchant_id, own.state, greatest(w.waiting - own.count, 0) as before
      from (select merchant_id, state, count(*) as count from asked group by merchant_id, state) own
      cross join lateral (
        select count(*) as waiting from (
          select from provider_event p
          where p.merchant_id = own.merchant_id and p.state = own.state and p.state in ('pending', 'waiting')
          limit ${maxCounted} + own.count) one) w)
    select a.event_id, least(head.turn + least(line.before + a.place - 1, ${maxCounted}), 2147483647)::integer as turn
    from asked a join line using (merchant_id, state) cross join head`,
});
