import { createHash } from 'node:crypto';

/** What spreading the merchants' tables changes of what the migrations make: npm run distribute does it, and the audit expects it. */

/** Foreign keys to `merchant` of tables that stay with the coordinator: Citus would take those under its care as well. */
export const KEYS_LEFT_OUT: readonly string[] = ['api_key_merchant_id_fkey', 'source_merchant_id_mode_fkey'];

const CASCADES = / ON UPDATE CASCADE( ON DELETE CASCADE)?/;

/**
 * A foreign key as Citus has it. It lets no key cascade that holds the column by which a table is spread; those to payments are looked at when a
 * transaction ends instead, so that a payment and what is of it move one after the other (src/payments/adopt.ts).
 */
export function spreadKey(definition: string): string {
  if (!CASCADES.test(definition)) return definition;
  return `${definition.replace(CASCADES, '$1').replace(' NOT VALID', '')} DEFERRABLE INITIALLY DEFERRED`;
}

/**
 * The source of the trigger function `refuse_change_but_erasure`. A trigger runs on the node of its row, where a table's name means all of the
 * table, on every node. So this one asks the part of `erasure` that lies beside the part of `entry` in which the row is.
 */
export const REFUSE_CHANGE_BUT_ERASURE = `
declare
  is_struck boolean;
  part text;
begin
  select 'erasure_' || beside.shardid into part
  from pg_dist_shard own
  join pg_dist_shard beside on beside.logicalrelid = 'public.erasure'::regclass and beside.shardminvalue = own.shardminvalue
  where own.logicalrelid = 'public.entry'::regclass and own.shardid = substring(tg_table_name from '_(\\d+)$')::bigint;
  if old is distinct from new and part is not null then
    execute format('select exists (
      select from public.%I r
      where r.merchant_id = $1 and r.customer_id = $2 and r.currency = $3 and r.seq = $4
        and (r.reason_hash is not null) = $5 and (r.metadata_hash is not null) = $6)', part)
    into is_struck
    using old.merchant_id, old.customer_id, old.currency, old.seq, old.reason is not null, old.metadata is not null;
    if is_struck then
      old.reason := null;
      old.metadata := null;
      if old is not distinct from new then
        return new;
      end if;
    end if;
  end if;
  raise exception '% is insert-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end `;

const TRIGGER = /^function refuse_change_but_erasure\(\) in plpgsql: [0-9a-f]{64}$/;

/** The guards of the books (src/audit/guards.ts), as they are where tables are spread. */
export function spreadGuards(lines: readonly string[]): readonly string[] {
  const hash = createHash('sha256').update(REFUSE_CHANGE_BUT_ERASURE).digest('hex');
  return lines
    .filter((line) => !KEYS_LEFT_OUT.some((name) => line.includes(`.${name} `)))
    .map((line) => (line.startsWith('constraint ') ? spreadKey(line) : line))
    .map((line) => (TRIGGER.test(line) ? line.replace(/[0-9a-f]{64}$/, hash) : line));
}
