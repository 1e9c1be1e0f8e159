import type { PgBoss } from 'pg-boss';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { bigint, integer, text } from '../db/codec.ts';
import { bossDatabase } from '../db/queues.ts';
import { rowsOf, statement } from '../db/statement.ts';
import type { Tx } from '../db/transaction.ts';
import type { EventKey } from './events.ts';

/** Events that jobs are to apply: now, or not before a time. */
interface DueEvents {
  readonly events: readonly EventKey[];
  readonly startAfter?: Date;
}

/** Enqueues the application of events in the transaction that stored or changed them, each for its turn. */
export async function enqueue(boss: PgBoss, tx: Tx, { events, startAfter }: DueEvents): Promise<void> {
  if (events.length === 0) return;
  const turns = await takeTurns(tx, events);
  const when = startAfter === undefined ? {} : { startAfter };
  // pg-boss serves the highest priority first.
  const jobs = events.map(({ merchantId, eventId }) => ({
    ...{ merchantId, eventId, priority: -(turns.get(eventId) ?? 0) },
    ...when,
  }));
  await insertApplyJobs(boss, tx, jobs);
}

interface NewApplyJob extends EventKey {
  readonly priority: number;
  readonly startAfter?: Date;
}

/** Adds jobs that apply events, in the caller's transaction. */
export async function insertApplyJobs(boss: PgBoss, tx: Tx, jobs: readonly NewApplyJob[]): Promise<void> {
  const rows = jobs.map(({ merchantId, eventId, ...when }) => ({ data: { merchantId, eventId }, ...when }));
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
 * @returns the turn of each, by its id; the lowest is served first
 */
async function takeTurns(tx: Tx, events: readonly EventKey[]): Promise<ReadonlyMap<string, number>> {
  const turns = await ofEachMerchant(events, (merchantId, own) =>
    TAKE_TURNS.all(tx, { merchantId, events: own, maxCounted: MAX_COUNTED, maxSkipped: MAX_SKIPPED }),
  );
  return new Map(turns.map(({ eventId, turn }) => [eventId, turn]));
}

const TAKE_TURNS = statement({
  name: 'take-turns',
  params: { merchantId: text, events: rowsOf({ eventId: text }), maxCounted: bigint, maxSkipped: bigint },
  row: { eventId: text, turn: integer },
  text: ({ merchantId, events, maxCounted, maxSkipped }) => {
    const waitingIn = (state: 'pending' | 'waiting') => `
        (select '${state}' as state, count(*) as waiting from (
          select from provider_event p
          where p.merchant_id = ${merchantId} and p.state = '${state}' and exists (select from own where own.state = '${state}')
          limit ${maxCounted} + (select count(*) from asked)) ${state})`;
    return `
    with head as materialized (
      select coalesce(-max(j.priority) filter (where j.start_after <= now()), -min(j.priority), 0) as turn
      from (
        select priority, start_after from pgboss.job
        where name = 'apply-provider-event' and state < 'active' and not blocked
        order by priority desc, created_on limit ${maxSkipped}) j),
    asked as (
      select e.event_id, e.state, row_number() over (partition by e.state order by a.place) as place
      from ${events('a', { merchantId, position: 'place' })} join provider_event e using (merchant_id, event_id)),
    own as (select state, count(*) as count from asked group by state),
    line as materialized (
      select own.state, greatest(coalesce(w.waiting, 0) - own.count, 0) as before
      from own left join (${waitingIn('pending')} union all ${waitingIn('waiting')}) w using (state))
    select a.event_id, least(head.turn + least(line.before + a.place - 1, ${maxCounted}), 2147483647)::integer as turn
    from asked a join line using (state) cross join head`;
  },
});
