-- The ledger. Every key begins with merchant and customer, so that the tables can be spread over the nodes of a
-- distributed Postgres by customer. No index names a column that postings change: that would end HOT updates.

create table wallet (
  merchant_id text not null,
  customer_id text not null,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- Minor units; the bound is JavaScript's largest exact integer.
  balance bigint not null default 0 check (balance between -9007199254740991 and 9007199254740991),
  -- How many entries the wallet has, which is the seq of its newest entry.
  version bigint not null default 0 check (version >= 0),
  -- Set once the wallet has reached its threshold or been spent from: only then can it be low.
  alerts_armed boolean not null default false,
  -- The wallet's own low-balance threshold; null means the currency's default.
  low_threshold bigint check (low_threshold between 0 and 9007199254740991),
  -- Set while the merchant has been told of a low (an empty) balance and not yet of its recovery.
  low_since timestamptz,
  depleted_since timestamptz,
  low_alerted_at timestamptz,
  alert_seq bigint not null default 0 check (alert_seq >= 0),
  -- How far the merchant has been told. -1: not even that the wallet exists.
  announced_version bigint not null default -1 check (announced_version between -1 and version),
  announced_alert_seq bigint not null default 0 check (announced_alert_seq between 0 and alert_seq),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (merchant_id, customer_id, currency),
  foreign key (merchant_id, customer_id) references customer
) with (fillfactor = 80);

create table entry (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  seq bigint not null check (seq >= 1),
  amount bigint not null check (amount between 1 and 9007199254740991),
  is_credit boolean not null,
  event_type text not null check (event_type in (
    'payment', 'payment_reversal', 'refund', 'refund_reversal', 'dispute', 'dispute_reversal', 'merchant_adjustment')),
  before_balance bigint not null,
  after_balance bigint not null check (after_balance between -9007199254740991 and 9007199254740991),
  reason text check (length(reason) <= 1000),
  reference_object_id text check (length(reference_object_id) <= 255),
  metadata jsonb check (jsonb_typeof(metadata) = 'object'),
  idempotency_key text check (length(idempotency_key) between 1 and 600),
  -- SHA-256 of the request under that key, so that the key cannot be used for something else.
  fingerprint bytea check (octet_length(fingerprint) = 32),
  created_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, seq),
  foreign key (merchant_id, customer_id, currency) references wallet,
  constraint entry_idempotency_key unique (merchant_id, customer_id, idempotency_key),
  constraint entry_key_with_fingerprint check ((idempotency_key is null) = (fingerprint is null)),
  constraint entry_adds_up check (after_balance = before_balance + case when is_credit then amount else -amount end),
  -- Each event type is a credit or a debit by nature, except an adjustment, which may be either.
  constraint entry_direction check (case event_type
    when 'payment' then is_credit
    when 'refund' then is_credit
    when 'dispute_reversal' then is_credit
    when 'payment_reversal' then not is_credit
    when 'refund_reversal' then not is_credit
    when 'dispute' then not is_credit
    else true end),
  -- Only taking back credit that was already spent may leave a debt.
  constraint entry_overdraft check (after_balance >= 0 or is_credit
    or event_type in ('payment_reversal', 'refund_reversal', 'dispute'))
);

-- Low-balance alerts, numbered by wallet in the order in which they were raised.
create table wallet_alert (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  alert_seq bigint not null check (alert_seq >= 1),
  kind text not null check (kind in ('low', 'recovered', 'depleted')),
  -- True for a repeated reminder of a balance that is still low.
  reminder boolean not null default false,
  balance bigint not null,
  threshold bigint,
  version bigint not null,
  created_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, alert_seq),
  foreign key (merchant_id, customer_id, currency) references wallet
);

-- One row for each wallet with something to tell its merchant. A posting's transaction adds the row; the announcer
-- fixes here what it is about to say, and removes the row once everything is said.
create table unannounced_wallet (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  since timestamptz not null default now(),
  claimed_version bigint,
  claimed_alert_seq bigint,
  claimed_until timestamptz,
  attempts integer not null default 0,
  retry_at timestamptz,
  last_error text check (length(last_error) <= 500),
  primary key (merchant_id, customer_id, currency),
  foreign key (merchant_id, customer_id, currency) references wallet,
  check ((claimed_version is null) = (claimed_alert_seq is null))
);

-- The announcer takes those that wait longest first.
create index unannounced_wallet_oldest on unannounced_wallet (since);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is insert-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;

create trigger entry_is_insert_only before update or delete or truncate on entry
  for each statement execute function refuse_change();
create trigger wallet_alert_is_insert_only before update or delete or truncate on wallet_alert
  for each statement execute function refuse_change();
