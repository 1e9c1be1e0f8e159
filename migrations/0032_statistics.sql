-- Statistics that exist. Autovacuum looks at a table when a tenth of it has changed, which for tables of millions of rows is after days;
-- these are looked at after a hundredth or a fiftieth, so that plans are made for what is there.

-- Written once: the only dead rows are of postings that were rolled back. Vacuum here is what keeps index-only scans and freezing cheap.
alter table entry set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table wallet_alert set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);

-- Changed once or a few times in a row's life.
alter table provider_event set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table payment set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table payment_part set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table payment_movement set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table customer set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table customer_link set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table svix_message set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);

-- Written often, and emptied from the other end.
alter table wallet set (autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
alter table webhook_message set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02);
alter table webhook_delivery set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02);
alter table webhook_attempt set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02);
-- Work lists: mostly empty, and read from their oldest row, past all that died and was not cleaned up.
alter table unannounced_wallet set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
alter table unsent_message set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);

-- Where autovacuum does not come, or too late, the worker asks for statistics of a table (src/db/statistics.ts). Only a table's owner may
-- gather them, so this runs as the owner, and takes no other tables than the service's own.
create function refresh_statistics(named regclass) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if not exists (
    select from pg_class c
    where c.oid = named and c.relkind in ('r', 'p') and c.relnamespace in ('public'::regnamespace, 'pgboss'::regnamespace)
      and c.relowner = (select relowner from pg_class where oid = 'public.entry'::regclass))
  then
    raise exception '% is not a table of the service', named using errcode = 'insufficient_privilege';
  end if;
  execute format('analyze %s', named);
end $$;
revoke all on function refresh_statistics(regclass) from public;

-- As 0031 has it, but that the entries and their hashes are looked up by their whole keys: where nothing was known of the tables, the
-- wallet's other entries and hashes were read again for each of the page.
create or replace function erase_entry_texts(merchant text, customer text, wallet_currency text, seqs bigint[], reason_hashes bytea[], metadata_hashes bytea[])
returns bigint language plpgsql security definer set search_path = public, pg_temp as $$
declare
  struck bigint;
begin
  insert into erasure (merchant_id, customer_id, currency, seq, reason_hash, metadata_hash, erased_at)
  select merchant, customer, wallet_currency, n.seq, n.reason_hash, n.metadata_hash, now()
  from unnest(seqs, reason_hashes, metadata_hashes) as n (seq, reason_hash, metadata_hash)
  cross join lateral (
    select e.reason, e.metadata from entry e
    where e.merchant_id = merchant and e.customer_id = customer and e.currency = wallet_currency and e.seq = n.seq
    offset 0) e
  where n.reason_hash is not distinct from sha256(convert_to(e.reason, 'UTF8'))
    and (n.metadata_hash is not null) = (e.metadata is not null)
  on conflict do nothing;
  update entry e set reason = null, metadata = null
  where e.merchant_id = merchant and e.customer_id = customer and e.currency = wallet_currency and e.seq = any (seqs)
    and (e.reason is not null or e.metadata is not null)
    and exists (
      select from erasure r
      where r.merchant_id = e.merchant_id and r.customer_id = e.customer_id and r.currency = e.currency and r.seq = e.seq
      offset 0);
  get diagnostics struck = row_count;
  return struck;
end $$;
