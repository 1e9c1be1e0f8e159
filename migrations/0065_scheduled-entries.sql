-- Entries that are to be written at a time to come (src/schedules/scheduled-entry.ts).
create table scheduled_entry (
  merchant_id text not null,
  customer_id text not null,
  scheduled_entry_id text not null,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  amount bigint not null check (amount between 1 and 9007199254740991),
  is_credit boolean not null,
  reason text check (length(reason) <= 1000),
  reference_object_id text check (length(reference_object_id) <= 255),
  metadata jsonb,
  -- The terms of a credit that is to be a lot; all null for other credit and for debits.
  lot_kind text check (lot_kind in ('promo', 'paid', 'refund', 'adjustment')),
  lot_name text check (length(lot_name) <= 100),
  lot_priority integer check (lot_priority between 0 and 100),
  lot_expires_at timestamptz,
  -- Days of 24 hours from when it was due, however late it was written.
  lot_days integer check (lot_days between 1 and 3660),
  post_at timestamptz not null,
  -- What becomes of a debit of more than is available then.
  on_shortfall text not null check (on_shortfall in ('skip', 'retry')),
  idempotency_key text not null check (length(idempotency_key) between 1 and 300),
  fingerprint bytea not null check (length(fingerprint) = 32),
  actor text not null check (length(actor) between 1 and 255),
  state text not null check (state in ('scheduled', 'posted', 'skipped', 'canceled')),
  -- When it is tried next; null once it has ended.
  due_at timestamptz,
  -- How often it was refused for want of money.
  tries integer not null check (tries between 0 and 8),
  entry_seq bigint check (entry_seq >= 1),
  skipped_for text,
  created_at timestamptz not null,
  ended_at timestamptz,
  primary key (merchant_id, customer_id, scheduled_entry_id),
  unique (merchant_id, customer_id, idempotency_key),
  constraint scheduled_entry_state check ((state = 'scheduled') = (due_at is not null) and (state = 'scheduled') = (ended_at is null)
    and (state = 'posted') = (entry_seq is not null) and (state = 'skipped') = (skipped_for is not null)),
  constraint scheduled_entry_terms check ((lot_kind is null) = (lot_priority is null)
    and (lot_kind is not null or (lot_name is null and lot_expires_at is null and lot_days is null))
    and (lot_expires_at is null or lot_days is null) and (is_credit or lot_kind is null)),
  foreign key (merchant_id, customer_id) references customer
);
-- What is due, by merchant, so that none waits behind another's.
create index scheduled_entry_due on scheduled_entry (merchant_id, due_at) where due_at is not null;

-- With two kinds of news more, whatever the others are by now.
do $$
declare
  kinds text;
begin
  select string_agg(quote_literal(kind[1]), ', ' order by place) into kinds
  from pg_constraint, regexp_matches(pg_get_constraintdef(oid), '''([a-z_]+)''::text', 'g') with ordinality as found (kind, place)
  where conrelid = 'wallet_alert'::regclass and conname = 'wallet_alert_kind_check';
  execute format('alter table wallet_alert drop constraint wallet_alert_kind_check,
    add constraint wallet_alert_kind_check check (kind in (%s, ''scheduled_entry_skipped'', ''grant_skipped'')) not valid', kinds);
end $$;
