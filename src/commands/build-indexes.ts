import type pg from 'pg';
import type { Logger } from '../telemetry/log.ts';

/**
 * Indexes of tables that may be large. A migration would hold up every write while it builds one; these are built while others write,
 * outside of any transaction. Until one is there, what uses it is slow and right.
 */
const INDEXES: Readonly<Record<string, string>> = {
  // What retention looks for. Few rows change their place in it: one when it is settled, and one when it is forgotten.
  provider_event_to_forget: `provider_event (merchant_id, state, settled_at, event_id)
    where state in ('applied', 'ignored') and body_removed_at is null`,
  wallet_alert_oldest: 'wallet_alert (merchant_id, created_at)',
};

/** Builds the indexes that are not there; one that a killed migration left unfinished is built anew. */
export async function buildIndexes(client: pg.Client, logger: Logger): Promise<void> {
  for (const [name, definition] of Object.entries(INDEXES)) {
    const { rows } = await client.query<{ valid: boolean }>(
      'select indisvalid as valid from pg_index where indexrelid = to_regclass($1)',
      [`public.${name}`],
    );
    if (rows[0]?.valid === true) continue;
    // It waits for transactions that are under way, and keeps nobody from anything meanwhile.
    await client.query('set lock_timeout = 0');
    if (rows.length > 0) await client.query(`drop index concurrently public.${name}`);
    logger.info({ index: name }, 'an index is being built');
    await client.query(`create index concurrently ${name} on public.${definition}`);
  }
}
