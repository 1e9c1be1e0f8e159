import type { PgBoss } from 'pg-boss';
import { bossDatabase } from '../db/queues.ts';
import type { Tx } from '../db/transaction.ts';
import type { EventKey } from './events.ts';

/** Jobs of many events each: which events make one job, and how many of those that were taken up are applied together. */

/** An event that is to share a job. */
export interface DueEvent extends EventKey {
  /** The lowest is served first. */
  readonly turn: number;
  /** Of its body. */
  readonly bytes: number;
}

/** What a job is of. */
export interface SharedEvents {
  readonly events: readonly EventKey[];
  /** Of all bodies, as they were stored. */
  readonly bytes: number;
  /** The highest goes first; the first of its events has that turn. */
  readonly priority: number;
}

interface Limits {
  readonly events: number;
  readonly bytes: number;
}

/** Two transactions of this queue, and two of that of single events, are under way in a process, and reading takes several times as much. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** A job that is alone fits into a batch, but for an event that is larger by itself. */
const MOST_OF_A_JOB = { events: 100, bytes: MAX_BODY_BYTES, turns: 100 };
/** A hundred events cost little more than one, and wallets are locked meanwhile. */
const MOST_OF_A_BATCH = { events: 250, bytes: MAX_BODY_BYTES };

/**
 * The events of one commit in as few jobs as the limits allow, each of events whose turns are next to each other: so none overtakes what
 * another job holds by more than their turns lie apart.
 */
export function inJobs(
  events: readonly DueEvent[],
  limits: Limits & { readonly turns: number } = MOST_OF_A_JOB,
): readonly SharedEvents[] {
  const jobs: { readonly events: EventKey[]; readonly turn: number; bytes: number }[] = [];
  for (const { merchantId, eventId, turn, bytes } of events.toSorted((a, b) => a.turn - b.turn)) {
    const job = jobs.at(-1);
    const isNear = job !== undefined && turn - job.turn < limits.turns;
    if (isNear && job.events.length < limits.events && job.bytes + bytes <= limits.bytes) {
      job.events.push({ merchantId, eventId });
      job.bytes += bytes;
    } else jobs.push({ events: [{ merchantId, eventId }], turn, bytes });
  }
  // pg-boss serves the highest priority first.
  return jobs.map(({ turn, ...job }) => ({ ...job, priority: -turn }));
}

/** Splits jobs into those that are next and fit into one transaction, one at least, and those that must wait. */
export function nextThatFit<Job extends SharedEvents>(
  jobs: readonly Job[],
  limits: Limits = MOST_OF_A_BATCH,
): { readonly batch: readonly Job[]; readonly left: readonly Job[] } {
  const inOrder = jobs.toSorted((a, b) => b.priority - a.priority);
  const sum = { events: 0, bytes: 0 };
  const past = inOrder.findIndex(({ events, bytes }, index) => {
    sum.events += events.length;
    sum.bytes += bytes;
    return index > 0 && (sum.events > limits.events || sum.bytes > limits.bytes);
  });
  return past === -1 ? { batch: inOrder, left: [] } : { batch: inOrder.slice(0, past), left: inOrder.slice(past) };
}

/** What a job is of, as its payload has it. */
export function sharedEvents(
  { events, bytes }: { readonly events: readonly (readonly [string, string])[]; readonly bytes: number },
  priority: number,
): SharedEvents {
  return { events: events.map(([merchantId, eventId]) => ({ merchantId, eventId })), bytes, priority };
}

/** Adds jobs that each apply these events, in the caller's transaction. */
export async function insertSharedJobs(boss: PgBoss, tx: Tx, jobs: readonly SharedEvents[]): Promise<void> {
  const rows = jobs.map(({ events, bytes, priority }) => {
    return { data: { events: events.map(({ merchantId, eventId }) => [merchantId, eventId]), bytes }, priority };
  });
  if (rows.length > 0) await boss.insert('apply-provider-events', rows, { db: bossDatabase(tx) });
}
