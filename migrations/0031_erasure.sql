-- Erasing what is known of a person, while the books stay whole (docs/decisions/0018-erasure.md).

-- Texts of entries that were struck out, as the chain of hashes has them (src/ledger/README.md): with these it can still be computed.
-- Without a foreign key: nothing of the ledger may refer to it in a way that changes how it answers a TRUNCATE.
create table erasure (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  seq bigint not null,
  reason_hash bytea check (octet_length(reason_hash) = 32),
  metadata_hash bytea check (octet_length(metadata_hash) = 32),
  erased_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, seq),
  check (num_nonnulls(reason_hash, metadata_hash) > 0)
);
create trigger erasure_is_insert_only before update or delete or truncate on erasure
  for each statement execute function refuse_change();

-- An entry still never changes, but that its texts may be struck out once their hashes are written down.
create function refuse_change_but_erasure() returns trigger language plpgsql as $$
begin
  if old is distinct from new and exists (
    select from erasure r
    where r.merchant_id = old.merchant_id and r.customer_id = old.customer_id and r.currency = old.currency and r.seq = old.seq
      and (r.reason_hash is not null) = (old.reason is not null) and (r.metadata_hash is not null) = (old.metadata is not null))
  then
    old.reason := null;
    old.metadata := null;
    if old is not distinct from new then
      return new;
    end if;
  end if;
  raise exception '% is insert-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;
drop trigger entry_is_insert_only on entry;
create trigger entry_is_insert_only before delete or truncate on entry
  for each statement execute function refuse_change();
create trigger entry_is_insert_only_but_for_erasure before update on entry
  for each row execute function refuse_change_but_erasure();

-- Strikes the texts of entries of one wallet out, and keeps their hashes. The hash of a reason is compared here; that of metadata
-- is made in JavaScript alone, and a wrong one is found by whoever computes the chain.
create function erase_entry_texts(merchant text, customer text, wallet_currency text, seqs bigint[], reason_hashes bytea[], metadata_hashes bytea[])
returns bigint language plpgsql security definer set search_path = public, pg_temp as $$
declare
  struck bigint;
begin
  insert into erasure (merchant_id, customer_id, currency, seq, reason_hash, metadata_hash, erased_at)
  select merchant, customer, wallet_currency, n.seq, n.reason_hash, n.metadata_hash, now()
  from unnest(seqs, reason_hashes, metadata_hashes) as n (seq, reason_hash, metadata_hash)
  join entry e on e.merchant_id = merchant and e.customer_id = customer and e.currency = wallet_currency and e.seq = n.seq
  where n.reason_hash is not distinct from sha256(convert_to(e.reason, 'UTF8'))
    and (n.metadata_hash is not null) = (e.metadata is not null)
  on conflict do nothing;
  update entry e set reason = null, metadata = null
  from erasure r
  where e.merchant_id = merchant and e.customer_id = customer and e.currency = wallet_currency and e.seq = any (seqs)
    and (e.reason is not null or e.metadata is not null)
    and r.merchant_id = e.merchant_id and r.customer_id = e.customer_id and r.currency = e.currency and r.seq = e.seq;
  get diagnostics struck = row_count;
  return struck;
end $$;
revoke all on function erase_entry_texts(text, text, text, bigint[], bytea[], bytea[]) from public;

-- A link of a customer whose data were erased. The provider's id is only kept as a hash, so that what the provider still tells of the
-- person's money goes to the same wallet, and makes no new customer with the same name and address.
create table erased_link (
  merchant_id text not null,
  source_id text not null,
  -- SHA-256 of the merchant's id, a NUL and the provider's id.
  provider_customer_hash bytea not null check (octet_length(provider_customer_hash) = 32),
  customer_id text not null,
  cause text not null,
  created_at timestamptz not null,
  primary key (merchant_id, source_id, provider_customer_hash),
  foreign key (merchant_id, customer_id) references customer
);

-- Whose data are to be erased, and how far that has come: it may be cut off anywhere and go on.
create table customer_erasure (
  merchant_id text not null,
  customer_id text not null,
  requested_at timestamptz not null,
  -- Also the reasons and metadata of entries.
  with_texts boolean not null,
  phase text not null check (phase in ('entries', 'payments', 'messages')),
  -- Where the phase goes on; null at its start.
  place jsonb,
  entries integer not null default 0,
  events integer not null default 0,
  messages integer not null default 0,
  -- What could not be erased in the last pass, since it is in dispute, waits for a person or is still to be delivered.
  kept integer not null default 0,
  not_before timestamptz not null,
  finished_at timestamptz,
  primary key (merchant_id, customer_id),
  foreign key (merchant_id, customer_id) references customer
);
create index customer_erasure_open on customer_erasure (not_before) where finished_at is null;
