import pg from 'pg';
import type { Logger } from '../telemetry/log.ts';

/**
 * Indexes of tables that may be large. A migration would hold up every write while it builds one; these are built while others write,
 * outside of any transaction. Until one is there, what uses it is slow and right.
 */
const INDEXES: Readonly<Record<string, string>> = {
  // What retention looks for. Few rows change their place in it: one when it is settled, and one when it is forgotten.
  provider_event_to_forget: `provider_event (merchant_id, state, settled_at, event_id)
    where state in ('applied', 'ignored') and body_removed_at is null`,
  // Some news names a refund or dispute and no payment. Written once for each of them. It begins with the id, so that nothing else is read by it
  // where Postgres knows nothing of the table yet.
  payment_part_by_id: 'payment_part (part_id, merchant_id, source_id, kind)',
  // Disputes are asked for as long as they hold money, however old they are. A row enters it with its hold and leaves it with that.
  payment_part_holding: 'payment_part (merchant_id, source_id, kind, part_id) where hold_no is not null',
  // The work list of the embedded sender, by merchant, so that none waits behind another's.
  webhook_delivery_due_of_merchant: "webhook_delivery (merchant_id, next_attempt_at) where state = 'pending'",
  wallet_alert_oldest: 'wallet_alert (merchant_id, created_at)',
  // A customer's top-ups, for rules that give a bonus on the first; and the bonuses that he got by rules.
  payment_top_up: "payment (merchant_id, customer_id, currency) where purpose = 'topup'",
  payment_bonus_rule: 'payment (merchant_id, customer_id, currency) where bonus_rule_id is not null',
  // The payments of a checkout, most of which there are none of.
  payment_of_checkout: 'payment (merchant_id, checkout_id) where checkout_id is not null',
  // What is to be looked at of top-ups, by merchant, so that none waits behind another's.
  topup_look_of_merchant: 'topup (merchant_id, look_at) where look_at is not null',
  topup_due_of_merchant: 'topup_due (merchant_id, retry_at)',
  // Whose top-ups are suspended, by who pays them.
  topup_rule_payer:
    'topup_rule (merchant_id, source_id, provider_customer_id) where suspended_reason is not null and enabled',
  // Schedules with a period that is still to be paid; most have none.
  grant_schedule_refill: "grant_schedule (merchant_id, customer_id, currency) where refill_state in ('due', 'tried')",
  // For the metrics.
  topup_rule_suspended: 'topup_rule (merchant_id) where suspended_reason is not null and enabled',
  // The closed lots that a payment gave.
  closed_lot_of_payment: 'closed_lot (merchant_id, customer_id, currency, origin_key) where origin_key is not null',
  // Entries of the types that are rare, for lists of one type. What requests write is not in it, so that a debit pays nothing for it.
  entry_of_type:
    "entry (merchant_id, customer_id, currency, event_type, seq) where event_type <> 'merchant_adjustment'",
  // Finds customers by the beginning of their names.
  customer_name_beginning: 'customer (merchant_id, lower(name) text_pattern_ops)',
};

/**
 * Unique ones that stand in for another one, which is dropped once they are there: nothing is without a key meanwhile. What a merchant
 * asks for under a key of his own, and what is begun for a period under the period's key, never meet.
 */
const APART = {
  instead: 'topup_idempotency_key',
  indexes: {
    topup_key_of_request: "topup (merchant_id, customer_id, idempotency_key) where origin = 'manual'",
    topup_key_of_period: "topup (merchant_id, customer_id, idempotency_key) where origin = 'schedule'",
  },
} as const;

/** Finds them by part of their names where the database has pg_trgm; src/customers/search.ts asks whether it is there. */
const NAME_PART = 'customer_name_part';

interface NewIndex {
  readonly name: string;
  readonly definition: string;
  readonly isUnique?: boolean;
}

/** Builds the indexes that are not there; one that a killed migration left unfinished is built anew. */
export async function buildIndexes(client: pg.Client, logger: Logger): Promise<void> {
  for (const [name, definition] of Object.entries(INDEXES)) await buildIndex(client, logger, { name, definition });
  for (const [name, definition] of Object.entries(APART.indexes))
    await buildIndex(client, logger, { name, definition, isUnique: true });
  // It waits for transactions that are under way, as building does.
  await client.query('set lock_timeout = 0');
  await client.query(`drop index concurrently if exists public.${APART.instead}`);
  const schema = await schemaOfTrigrams(client);
  if (schema === null) return;
  // Kept in order at once: else what is new waits in a list that every search reads, and somebody's insert has to clear.
  const definition = `customer using gin (lower(name) ${pg.escapeIdentifier(schema)}.gin_trgm_ops) with (fastupdate = off)`;
  await buildIndex(client, logger, { name: NAME_PART, definition });
}

/** Builds an index while others write, unless it is there. */
export async function buildIndex(
  client: pg.Client,
  logger: Logger,
  { name, definition, isUnique = false }: NewIndex,
): Promise<void> {
  const { rows } = await client.query<{ valid: boolean }>(
    'select indisvalid as valid from pg_index where indexrelid = to_regclass($1)',
    [`public.${name}`],
  );
  if (rows[0]?.valid === true) return;
  // It waits for transactions that are under way, and keeps nobody from anything meanwhile.
  await client.query('set lock_timeout = 0');
  if (rows.length > 0) await client.query(`drop index concurrently public.${name}`);
  const [table = ''] = definition.split(' ', 1);
  const { rowCount } = await client.query(`select from public.${table} limit 1`);
  // Of an empty table there is nothing to wait for, nor to read about.
  logger[rowCount === 0 ? 'debug' : 'info']({ index: name }, 'an index is being built');
  await client.query(`create ${isUnique ? 'unique ' : ''}index concurrently ${name} on public.${definition}`);
}

async function schemaOfTrigrams(client: pg.Client): Promise<string | null> {
  const { rows } = await client.query<{ schema: string }>(
    "select nspname as schema from pg_extension join pg_namespace n on n.oid = extnamespace where extname = 'pg_trgm'",
  );
  return rows[0]?.schema ?? null;
}
