import type pg from 'pg';
import { PgBoss, type Queue } from 'pg-boss';
import { z } from 'zod';
import type { Logger } from '../telemetry/log.ts';
import { logErrorsOf } from './boss.ts';
import { keptOfBoss } from './boss-statements.ts';
import { bigint, integer, json, nullable, text, timestamptz, uuid } from './codec.ts';
import { connectionString } from './database-url.ts';
import { prepareKeptSession } from './session.ts';
import { rowsOf, statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/**
 * Every queue in one table. Payloads hold ids only, never personal data or secrets: the rows they name are the truth, so
 * a lost job can be made again from them. pg-boss runs a job at least once; what a job does must bear repetition.
 *
 * A heartbeat bounds how long the jobs of a killed worker wait for another; `expireInSeconds` bounds a handler that hangs.
 * Retention is long where a job stands for money (pg-boss deletes queued jobs older than `retentionSeconds`).
 */
const DAY_SECONDS = 86_400;

interface QueueDefinition<Payload extends z.ZodType> {
  readonly payload: Payload;
  readonly options: Omit<Queue, 'name' | 'deadLetter'>;
}

function define<Payload extends z.ZodType>(
  payload: Payload,
  options: QueueDefinition<Payload>['options'],
): QueueDefinition<Payload> {
  return { payload, options };
}

const nothing = z.strictObject({});

/** For jobs that look for their work in the database, so that it does not matter who made them, or how many there are. */
const LOOKS_AT_STATE = {
  policy: 'short',
  retryLimit: 2,
  retryDelay: 30,
  heartbeatSeconds: 30,
  retentionSeconds: DAY_SECONDS,
  deleteAfterSeconds: DAY_SECONDS,
} as const;

/** 12 retries, doubling from 2 s up to 15 min, last for about an hour and a half. */
const APPLIES_EVENTS = {
  notify: true,
  retryLimit: 12,
  retryDelay: 2,
  retryBackoff: true,
  retryDelayMax: 900,
  expireInSeconds: 60,
  heartbeatSeconds: 10,
  retentionSeconds: 90 * DAY_SECONDS,
  // A finished job says nothing that its events do not; the fewer there are, the faster the queue.
  deleteAfterSeconds: 600,
} as const;

export const QUEUES = {
  /** The events of one commit, each as its merchant and id, and the bytes of all their bodies. What fails goes on as a job of its own. */
  'apply-provider-events': define(
    z.strictObject({ events: z.array(z.tuple([z.string(), z.string()])).min(1), bytes: z.int() }),
    APPLIES_EVENTS,
  ),
  /** One provider event to apply: one that waited, failed or was asked for again. Jobs of releases before do not name its merchant. */
  'apply-provider-event': define(
    z.strictObject({ merchantId: z.string().optional(), eventId: z.string() }),
    APPLIES_EVENTS,
  ),
  /** "There is something to announce now." At most one is queued, none for later; the work lists in the database say what. */
  'announce-balance-changes': define(nothing, {
    policy: 'short',
    notify: true,
    retryLimit: 2,
    retryDelay: 1,
    expireInSeconds: 60,
    heartbeatSeconds: 10,
    retentionSeconds: DAY_SECONDS,
    deleteAfterSeconds: 3600,
  }),
  /** "There is a delivery now", from another process than the one that delivers. Which are due, their table says; a worker of a release before reads the job. */
  'deliver-webhook': define(z.strictObject({ merchantId: z.string(), messageId: z.string(), endpointId: z.string() }), {
    notify: true,
    retryLimit: 2,
    retryDelay: 5,
    retryBackoff: true,
    retryDelayMax: 900,
    expireInSeconds: 60,
    heartbeatSeconds: 10,
    retentionSeconds: DAY_SECONDS,
    deleteAfterSeconds: 3600,
  }),
  'check-low-balances': define(nothing, {
    policy: 'short',
    retryLimit: 3,
    retryDelay: 10,
    expireInSeconds: 600,
    heartbeatSeconds: 30,
    retentionSeconds: DAY_SECONDS,
    deleteAfterSeconds: DAY_SECONDS,
  }),
  'settle-due-wallets': define(nothing, { ...LOOKS_AT_STATE, expireInSeconds: 600 }),
  /** Posts scheduled entries and grants that are due. */
  'post-scheduled': define(nothing, { ...LOOKS_AT_STATE, expireInSeconds: 3600 }),
  /** Ends checkouts that were not paid in time. */
  'expire-checkouts': define(nothing, { ...LOOKS_AT_STATE, expireInSeconds: 3600 }),
  /** Fills wallets up; which, and what to do about attempts under way, the database says. A call to a provider takes 20 s at most. */
  'charge-top-ups': define(nothing, { ...LOOKS_AT_STATE, notify: true, expireInSeconds: 600 }),
  'requeue-stranded-events': define(nothing, { ...LOOKS_AT_STATE, expireInSeconds: 300 }),
  /** Works on every reconciliation under way; each remembers its place, so a run that is cut short is only put off. */
  'reconcile-payments': define(z.strictObject({ isScheduled: z.boolean().default(false) }), {
    policy: 'short',
    notify: true,
    retryLimit: 3,
    retryDelay: 30,
    retryBackoff: true,
    expireInSeconds: 6 * 3600,
    heartbeatSeconds: 30,
    retentionSeconds: DAY_SECONDS,
    deleteAfterSeconds: 7 * DAY_SECONDS,
  }),
  /** Works on every recovery of an endpoint; each remembers its place. */
  'recover-endpoints': define(nothing, { ...LOOKS_AT_STATE, notify: true, expireInSeconds: 3600 }),
  /** Looks for endpoints that Svix gave up on. */
  'watch-endpoints': define(nothing, { ...LOOKS_AT_STATE, expireInSeconds: 600 }),
  'delete-old-tokens': define(nothing, { ...LOOKS_AT_STATE, expireInSeconds: 600 }),
  /** Forgets what is older than the settings say; each batch looks for what is left. */
  retain: define(nothing, { ...LOOKS_AT_STATE, expireInSeconds: 3600 }),
  'refresh-statistics': define(nothing, { ...LOOKS_AT_STATE, expireInSeconds: 3600 }),
  /** One source takes over from another, in one transaction: a job that is cut off has done nothing. */
  'adopt-source': define(z.strictObject({ merchantId: z.string(), from: z.string(), into: z.string() }), {
    notify: true,
    retryLimit: 5,
    retryDelay: 10,
    retryBackoff: true,
    expireInSeconds: 6 * 3600,
    heartbeatSeconds: 30,
    retentionSeconds: 7 * DAY_SECONDS,
    deleteAfterSeconds: 7 * DAY_SECONDS,
  }),
  'audit-books': define(nothing, {
    policy: 'short',
    retryLimit: 1,
    retryDelay: 60,
    expireInSeconds: 3600,
    heartbeatSeconds: 60,
    retentionSeconds: DAY_SECONDS,
    deleteAfterSeconds: 30 * DAY_SECONDS,
  }),
} as const;

export type QueueName = keyof typeof QUEUES;

export const QUEUE_NAMES = Object.keys(QUEUES).filter((name): name is QueueName => name in QUEUES);

/** Where the jobs of a queue go whose retries are used up, to be looked at and redriven. Kept for 90 days. */
export function deadLetterOf(name: QueueName): string {
  return `${name}.dead`;
}

/**
 * For the workers of busy queues. Our jobs have no groups, so this limits nothing; but it makes pg-boss claim jobs by a
 * statement whose plan stands when the statistics of its table are old. The plain one then compares every job in the
 * table with every job claimed: 737 ms for a claim of 186 jobs was seen, with 13,500 finished ones around. So its plan may be kept.
 */
export const BOUNDED_FETCH = { groupConcurrency: 1_000 } as const;

/** Makes or updates the schema of pg-boss and every queue; run at release, by one process at a time. */
export async function installQueues(databaseUrl: string, logger: Logger): Promise<void> {
  const boss = new PgBoss({
    connectionString: connectionString(databaseUrl),
    max: 2,
    supervise: false,
    schedule: false,
    // Its own migrations are texts that mean something else without standard_conforming_strings.
    ...{ onConnect: (client: pg.ClientBase) => prepareKeptSession(client, { statement_timeout: '0' }) },
  });
  logErrorsOf(boss, logger);
  await boss.start();
  try {
    for (const name of QUEUE_NAMES) {
      const deadLetter = deadLetterOf(name);
      const kept = { retentionSeconds: 90 * DAY_SECONDS, deleteAfterSeconds: 90 * DAY_SECONDS };
      await boss.createQueue(deadLetter, kept);
      const { policy, ...changeable } = { policy: 'standard' as const, ...QUEUES[name].options };
      await boss.createQueue(name, { ...changeable, policy, deadLetter });
      await boss.updateQueue(name, { ...changeable, deadLetter });
    }
    // The first release scheduled it; by now the announcer looks by itself.
    await boss.unschedule('announce-balance-changes');
  } finally {
    await boss.stop({ graceful: false });
  }
}

/** Lets pg-boss run its statements inside our transaction, so that jobs and rows commit together. */
export function bossDatabase(tx: Queryable): {
  executeSql(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
} {
  return { executeSql: (text, values = []) => tx.query(keptOfBoss(text), values) };
}

/** The job was given to another worker meanwhile. That worker's run counts, so this one must be rolled back. */
export class ClaimLostError extends Error {
  constructor() {
    super('the job belongs to another worker now');
    this.name = 'ClaimLostError';
  }
}

const settled = z.object({ affected: z.int() });

/**
 * Completes jobs in the transaction that did their work, so that work and completion happen together or not at all.
 * `retryCount` fences the claim: a run that outlived its expiry, or whose process was frozen, cannot commit.
 * @throws {ClaimLostError} if any of the jobs is not this run's any more; let it undo the transaction
 */
export async function completeJobs(
  boss: PgBoss,
  tx: Queryable,
  { name, jobs }: { readonly name: QueueName; readonly jobs: readonly { id: string; retryCount: number }[] },
): Promise<void> {
  const claims = jobs.map(({ id, retryCount }) => ({ id, retryCount }));
  // pg-boss does not declare what its answer holds.
  const { affected } = settled.parse(await boss.complete(name, claims, null, { db: bossDatabase(tx) }));
  if (affected !== jobs.length) throw new ClaimLostError();
}

/** Lets a transaction that does a part of a job's work commit only if the job is still this run's; it is completed later. @throws {ClaimLostError} */
export async function keepClaim(
  boss: PgBoss,
  tx: Queryable,
  { name, job: { id, retryCount } }: { readonly name: QueueName; readonly job: { id: string; retryCount: number } },
): Promise<void> {
  const { affected } = settled.parse(await boss.touch(name, [{ id, retryCount }], { db: bossDatabase(tx) }));
  if (affected !== 1) throw new ClaimLostError();
}

/** The jobs of a queue that wait. */
export interface QueueBacklog {
  readonly name: QueueName;
  /** Due now and not taken up; of jobs that hold many events, how many events. */
  readonly due: number;
  /** Given up, until somebody redrives them. */
  readonly dead: number;
}

/** What every queue holds. Counts stop at 10,000, and at 2,000 jobs of many events, beyond which nobody needs the exact number. */
export async function queueBacklogs(db: Queryable): Promise<readonly QueueBacklog[]> {
  const queues = QUEUE_NAMES.map((name) => ({ name, deadName: deadLetterOf(name) }));
  const found = new Map((await QUEUE_BACKLOGS.all(db, { queues })).map((one) => [one.name, one]));
  return QUEUE_NAMES.map((name) => ({ name, due: found.get(name)?.due ?? 0, dead: found.get(name)?.dead ?? 0 }));
}

const QUEUE_BACKLOGS = statement({
  params: { queues: rowsOf({ name: text, deadName: text }) },
  row: { name: text, due: bigint, dead: bigint },
  text: ({ queues }) => `
    select q.name, d.due, g.dead
    from ${queues('q')}
    cross join lateral (
      select least(coalesce(sum(one.events), 0), 10000)::bigint as due from (
        select case jsonb_typeof(j.data -> 'events') when 'array' then jsonb_array_length(j.data -> 'events') else 1 end as events
        from pgboss.job j
        where j.name = q.name and j.state < 'active' and not j.blocked and j.start_after <= now()
        limit case q.name when 'apply-provider-events' then 2000 else 10000 end) one) d
    cross join lateral (
      select count(*) as dead from (
        select 1 from pgboss.job j
        where j.name = q.dead_name and j.state < 'active' and not j.blocked limit 10000) one) g`,
});

/** A job that was given up. */
export interface DeadJob {
  readonly id: string;
  /** The ids of what it was about. */
  readonly data: unknown;
  readonly since: Date;
  readonly retries: number;
  /** How its last try ended. */
  readonly error: string | null;
}

/** The dead-lettered jobs of a queue, the oldest first. */
export async function deadJobs(db: Queryable, name: QueueName, limit: number): Promise<readonly DeadJob[]> {
  const found = await DEAD_JOBS.all(db, { queue: deadLetterOf(name), limit });
  return found.map(({ error, ...job }) => ({ ...job, error: error || null }));
}

const DEAD_JOBS = statement({
  params: { queue: text, limit: bigint },
  row: { id: uuid, data: nullable(json<unknown>()), since: timestamptz, retries: integer, error: text },
  text: ({ queue, limit }) => `
    select id, data, created_on as since, coalesce(source_retry_count, 0)::integer as retries,
      left(coalesce(source_output ->> 'error', concat_ws(': ', source_output ->> 'name', source_output ->> 'message'), ''), 200) as error
    from pgboss.job
    where name = ${queue} and state < 'active'
    order by created_on limit ${limit}`,
});
