-- One account at a provider is one source: two of them would each credit every payment of it.

-- The account that each source answers for, once it is known: by the first verified event that names it, by the API key, or by
-- the operator's word. Sources of the environment have rows too, so there is no foreign key to `source`.
create table source_account (
  provider text not null check (length(provider) between 1 and 50),
  mode text not null check (mode in ('test', 'live')),
  account text not null check (length(account) between 1 and 200),
  merchant_id text not null,
  source_id text not null,
  learnt_from text not null check (learnt_from in ('event', 'api', 'operator')),
  -- A further source of the same account, from before accounts were known: it goes on, and payments are told apart one by one.
  is_shared boolean not null default false,
  created_at timestamptz not null,
  primary key (merchant_id, source_id, account)
);
create unique index source_account_one_source on source_account (provider, mode, account) where not is_shared;
create index source_account_shared on source_account (provider, mode, account) where is_shared;

-- By which two sources with one webhook secret are found: HMAC-SHA256 under a key made from ENCRYPTION_KEY. Not unique: those
-- that are stored already stay.
alter table source_secret add column keyed_hash bytea check (octet_length(keyed_hash) = 32);
create index source_secret_by_keyed_hash on source_secret (keyed_hash) where keyed_hash is not null;
