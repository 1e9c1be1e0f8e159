import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { isHeldUp } from '../db/sqlstate.ts';
import type { Logger } from '../telemetry/log.ts';
import { buildIndex } from './build-indexes.ts';

const LOCK_TIMEOUT_MS = 2_000;
const RETRY_AFTER_MS = 3_000;
const MAX_ATTEMPTS = 100;

/**
 * Makes the merchant a part of the events' primary key, as it is of every other key, so that the table can be spread by merchant. The new
 * key is built while others write. Then it takes the old one's place, for which the table is locked for a moment: long waits for that lock
 * would hold up all who come after, so it is given up and tried again. Killed at any point, the next run goes on.
 */
export async function widenKeys(client: pg.Client, logger: Logger): Promise<void> {
  const { rowCount } = await client.query(
    `select from pg_constraint
     where conname = 'provider_event_pkey' and conrelid = 'public.provider_event'::regclass and cardinality(conkey) = 1`,
  );
  if (rowCount === 0) return;
  await buildIndex(client, logger, {
    name: 'provider_event_key',
    definition: 'provider_event (merchant_id, event_id)',
    isUnique: true,
  });
  await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
  for (let attempt = 1; ; attempt += 1)
    try {
      await client.query(`alter table public.provider_event drop constraint provider_event_pkey,
        add constraint provider_event_pkey primary key using index provider_event_key`);
      return;
    } catch (error) {
      if (!isHeldUp(error) || attempt >= MAX_ATTEMPTS) throw error;
      logger.info('the service is busy with provider_event, whose key is to change; trying again');
      await delay(RETRY_AFTER_MS);
    }
}
