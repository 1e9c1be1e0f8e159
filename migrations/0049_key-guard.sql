-- Keys that are made from the clock (src/merchants/key-guard/key-guard.ts).

alter table merchant
  -- What is done about them: nothing, a warning, or a refusal.
  add column key_guard text not null default 'flag',
  add constraint merchant_key_guard check (key_guard in ('off', 'flag', 'refuse')) not valid;

-- The newest thousand warnings of each merchant.
create table key_warning (
  merchant_id text not null references merchant,
  -- Made so that later ones are greater.
  warning_id text not null,
  kind text not null check (kind in ('unstable_key', 'near_duplicate')),
  customer_id text,
  idempotency_key text,
  other_key text,
  is_refused boolean not null,
  api_key_id text not null,
  created_at timestamptz not null,
  primary key (merchant_id, warning_id)
);
