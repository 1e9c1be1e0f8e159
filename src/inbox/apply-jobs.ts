import type { PgBoss } from 'pg-boss';
import { mayBeOfOneMerchant } from '../db/apart.ts';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, integer, text } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { ClaimLostError, completeJobs, type QueueName } from '../db/queues.ts';
import { statement } from '../db/statement.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import type { EventKey } from './events.ts';
import { MAX_BODY_BYTES } from './shared-jobs.ts';

/** A fetched job: the event to apply, and the claim under which it may be completed. */
export interface ApplyJob {
  readonly id: string;
  readonly retryCount: number;
  readonly retryLimit: number;
  readonly eventId: string;
  /** Jobs that a release before made do not name it. */
  readonly merchantId?: string | undefined;
  /** The highest goes first; 0 unless given. */
  readonly priority?: number;
}

/** A job that says whose event it applies. */
export type OwnedJob = ApplyJob & EventKey;

export interface ApplyResult {
  readonly id: string;
  readonly status: 'completed' | 'failed' | 'deadletter';
  readonly output?: { readonly error: string };
}

/** Splits jobs into those that are next and whose bodies fit into one transaction, one at least, and those that must wait. */
export async function firstThatFit(
  { pool }: { readonly pool: Pool },
  jobs: readonly OwnedJob[],
): Promise<{ readonly batch: readonly OwnedJob[]; readonly left: readonly OwnedJob[] }> {
  if (jobs.length < 2) return { batch: jobs, left: [] };
  const read = await ofEachMerchant(jobs, async (merchantId, own) => {
    try {
      return await BODY_SIZES.all(autocommit(pool), { merchantId, eventIds: own.map(({ eventId }) => eventId) });
    } catch (error) {
      // Their node is away: they fail when they are applied, by themselves.
      if (mayBeOfOneMerchant(error)) return [];
      throw error;
    }
  });
  const sizes = new Map(read.map(({ eventId, bytes }) => [eventId, bytes]));
  const inOrder = jobs.toSorted((a, b) => (b.priority ?? 0) - (a.priority ?? 0));
  let bytes = 0;
  const past = inOrder.findIndex(({ eventId }, index) => {
    bytes += sizes.get(eventId) ?? 0;
    return index > 0 && bytes > MAX_BODY_BYTES;
  });
  if (past === -1) return { batch: inOrder, left: [] };
  return { batch: inOrder.slice(0, past), left: inOrder.slice(past) };
}

const BODY_SIZES = statement({
  name: 'body-sizes',
  params: { merchantId: text, eventIds: array(text) },
  row: { eventId: text, bytes: integer },
  text: ({ merchantId, eventIds }) => `
    select event_id, octet_length(body) as bytes from provider_event
    where merchant_id = ${merchantId} and event_id = any (${eventIds})`,
});

/**
 * Lets whoever is free take up jobs that this batch has no room for: others with their places in the queue come in their stead.
 * If one of them belongs to another worker by now, pg-boss tries again those that do not.
 * @param insert makes the same jobs once more
 */
export async function putBack(
  { pool, boss }: { readonly pool: Pool; readonly boss: PgBoss },
  {
    name,
    jobs,
    insert,
  }: {
    readonly name: QueueName;
    readonly jobs: readonly { readonly id: string; readonly retryCount: number }[];
    readonly insert: (tx: Tx) => Promise<void>;
  },
): Promise<readonly ApplyResult[]> {
  if (jobs.length === 0) return [];
  try {
    await transaction(pool, async (tx) => {
      await completeJobs(boss, tx, { name, jobs });
      await insert(tx);
    });
    return jobs.map(({ id }) => ({ id, status: 'completed' }));
  } catch (error) {
    if (!(error instanceof ClaimLostError)) throw error;
    return jobs.map(({ id }) => ({ id, status: 'failed', output: { error: error.name } }));
  }
}
