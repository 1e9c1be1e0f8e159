-- Merchants, API keys and provider accounts as records that the admin routes keep.

-- A suspended merchant's keys are refused; its providers' events are still taken in, since its customers did pay.
alter table merchant add column suspended_at timestamptz;
alter table merchant add constraint merchant_in_mode unique (merchant_id, mode);

alter table api_key
  add column expires_at timestamptz,
  -- To the minute: a write for every request would cost more than it tells.
  add column last_used_at timestamptz,
  -- How the key ends, by which a person tells one from another.
  add column hint text check (length(hint) <= 8),
  -- The key that was made to take its place.
  add column replaced_by text;
create index api_key_by_merchant on api_key (merchant_id, created_at);

-- One provider account of one merchant. The environment's sources are not here; they belong to the default merchant.
create table source (
  merchant_id text not null,
  source_id text not null check (source_id ~ '^src_[a-z0-9_]{1,60}$'),
  provider text not null check (provider ~ '^[a-z]{1,30}$'),
  name text not null check (length(name) between 1 and 200),
  mode text not null,
  default_purpose text not null check (default_purpose in ('topup', 'order', 'none')),
  metadata text not null check (metadata in ('all', 'customer')),
  refunds text not null check (refunds in ('auto', 'credit', 'reverse', 'ignore')),
  customer_link_rule text not null check (customer_link_rule in ('create', 'linked', 'named')),
  enabled boolean not null default true,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (merchant_id, source_id),
  -- Live events must not move a test merchant's money, nor the reverse.
  foreign key (merchant_id, mode) references merchant (merchant_id, mode)
);

-- A webhook's address names the source alone.
create unique index source_by_id on source (source_id);

-- Encrypted: `v1.<key id>.<nonce, tag and ciphertext>`; the key itself is in the environment.
create table source_secret (
  merchant_id text not null,
  source_id text not null,
  secret_id text not null,
  -- webhook: verifies events; several during a rotation · api: reads the provider's API, for reconciliation
  purpose text not null check (purpose in ('webhook', 'api')),
  sealed text not null check (sealed ~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+$'),
  hint text not null check (length(hint) <= 8),
  -- SHA-256 of an API key: two sources of one account would credit every payment twice.
  fingerprint bytea check (octet_length(fingerprint) = 32),
  created_at timestamptz not null,
  primary key (merchant_id, source_id, secret_id),
  foreign key (merchant_id, source_id) references source on delete cascade
);

create unique index source_secret_one_api on source_secret (merchant_id, source_id) where purpose = 'api';
create unique index source_secret_one_account on source_secret (fingerprint) where fingerprint is not null;
