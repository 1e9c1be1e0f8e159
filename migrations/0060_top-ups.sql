-- Filling wallets up (src/top-ups): rules, attempts, and the list of wallets to look at.

-- A copy of the threshold while the wallet's rule is enabled, so that a debit need not read the rule. It comes with the lock.
alter table wallet
  add column topup_below bigint,
  add constraint wallet_topup_below check (topup_below between 0 and 9007199254740991) not valid;

-- By a key of this purpose a provider is asked to charge; the key of purpose api promises to read only.
alter table source_secret
  drop constraint source_secret_purpose_check,
  add constraint source_secret_purpose_check check (purpose in ('webhook', 'api', 'charge')) not valid;
create unique index source_secret_one_charge on source_secret (merchant_id, source_id) where purpose = 'charge';

-- One a wallet. A rule that was deleted stays with ended_at, since attempts are decided under its lock.
create table topup_rule (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  enabled boolean not null,
  threshold bigint not null check (threshold between 0 and 9007199254740991),
  mode text not null check (mode in ('amount', 'target')),
  amount bigint check (amount between 1 and 9007199254740991),
  target bigint check (target between 1 and 9007199254740991),
  max_charge bigint not null check (max_charge between 1 and 9007199254740991),
  monthly_cap bigint not null check (monthly_cap between 1 and 9007199254740991),
  max_per_day integer not null check (max_per_day between 1 and 10),
  min_interval_seconds integer not null check (min_interval_seconds between 60 and 86400),
  time_zone text not null check (length(time_zone) <= 64),
  -- By what it is paid; all null where the merchant charges by itself.
  source_id text,
  provider_customer_id text check (length(provider_customer_id) <= 255),
  payment_method_id text check (length(payment_method_id) <= 255),
  -- That the customer agreed to be charged without being there.
  consent_at timestamptz,
  consent_text text check (length(consent_text) <= 255),
  suspended_reason text check (suspended_reason in ('declined', 'too_many_declines', 'disputed')),
  suspended_at timestamptz,
  -- SHA-256 of the method that was declined: another one lifts the suspension. Null where there was none.
  suspended_method bytea check (octet_length(suspended_method) = 32),
  decline_code text check (length(decline_code) <= 100),
  failures_in_a_row integer not null check (failures_in_a_row >= 0),
  retry_at timestamptz,
  -- Until when each reason for not charging was told of.
  blocks jsonb not null check (jsonb_typeof(blocks) = 'object'),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  ended_at timestamptz,
  primary key (merchant_id, customer_id, currency),
  foreign key (merchant_id, customer_id, currency) references wallet,
  constraint topup_rule_mode check ((amount is not null) = (mode = 'amount') and (target is not null) = (mode = 'target')),
  constraint topup_rule_bounds check (
    max_charge >= coalesce(amount, 1) and monthly_cap >= max_charge and coalesce(target > threshold, true)),
  constraint topup_rule_payment check (
    (source_id is null) = (provider_customer_id is null) and (source_id is not null or payment_method_id is null)),
  constraint topup_rule_consent check (
    (consent_at is null) = (consent_text is null) and (consent_at is not null or not enabled)),
  constraint topup_rule_suspended check ((suspended_reason is null) = (suspended_at is null)),
  constraint topup_rule_ended check (ended_at is null or not enabled)
);

create table topup (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  topup_id text not null check (topup_id ~ '^top_[0-9a-z]{26}$'),
  origin text not null check (origin in ('threshold', 'manual', 'schedule')),
  state text not null check (state in (
    'requested', 'charging', 'unknown', 'charged', 'processing', 'succeeded', 'declined', 'failed', 'expired')),
  amount bigint not null check (amount between 1 and 9007199254740991),
  -- By which source it is charged; where the merchant charges, by which it was paid.
  source_id text,
  payment_id text,
  -- What that payment has in common with its renewals.
  series_id text,
  reason text,
  decline_code text check (length(decline_code) <= 100),
  -- SHA-256 of the payment method.
  method bytea check (octet_length(method) = 32),
  -- The whole request, which must be the same each time it is made, until the attempt is final; then its hash alone.
  request jsonb check (jsonb_typeof(request) = 'object'),
  request_hash bytea check (octet_length(request_hash) = 32),
  -- The monthly cap then, and when that month began in the rule's time zone.
  cap bigint,
  month_since timestamptz,
  -- It was paid after it had ended, so no cap had counted it.
  is_late boolean not null,
  idempotency_key text check (length(idempotency_key) between 1 and 255),
  asked_at timestamptz,
  -- A worker has it for itself until then.
  leased_until timestamptz,
  -- When something is to be done about it; null once it is final.
  look_at timestamptz,
  created_at timestamptz not null,
  settled_at timestamptz,
  primary key (merchant_id, customer_id, currency, topup_id),
  foreign key (merchant_id, customer_id, currency) references wallet,
  constraint topup_cap check (origin = 'manual' or (cap is not null and month_since is not null)),
  constraint topup_final check ((settled_at is not null) = (state in ('succeeded', 'declined', 'failed', 'expired'))),
  constraint topup_request check ((request is null or settled_at is null) and (request is null or request_hash is not null)),
  constraint topup_payment check ((state in ('charged', 'processing', 'succeeded')) <= (payment_id is not null and source_id is not null))
);
-- Payments name an attempt by its id.
create unique index topup_by_id on topup (merchant_id, topup_id);
-- One attempt at a time, whatever any code thinks.
create unique index topup_one_in_flight on topup (merchant_id, customer_id, currency)
  where origin <> 'manual' and state in ('requested', 'charging', 'unknown', 'charged', 'processing');
create unique index topup_idempotency_key on topup (merchant_id, customer_id, idempotency_key) where idempotency_key is not null;
create index topup_newest on topup (merchant_id, customer_id, currency, created_at desc);
create index topup_look on topup (look_at) where look_at is not null;
create index topup_payment on topup (merchant_id, source_id, payment_id) where payment_id is not null;
create index topup_declines on topup (merchant_id, method, created_at) where state = 'declined';

-- The work list of wallets that are below their threshold, or were: retry_at is when to look.
create table topup_due (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  since timestamptz not null,
  retry_at timestamptz not null,
  primary key (merchant_id, customer_id, currency),
  foreign key (merchant_id, customer_id, currency) references wallet
);
create index topup_due_first on topup_due (retry_at);
