-- Who owns what: merchants, their API keys, their customers, and how providers name those customers.

create table merchant (
  merchant_id text primary key check (merchant_id ~ '^[A-Za-z0-9._-]{1,64}$'),
  name text not null check (length(name) between 1 and 200),
  mode text not null check (mode in ('test', 'live')),
  created_at timestamptz not null default now()
);

-- A key is shown once and stored as its SHA-256: at 256 random bits a slow hash would add nothing.
create table api_key (
  key_id text primary key,
  merchant_id text not null references merchant,
  key_hash bytea not null unique check (octet_length(key_hash) = 32),
  scopes text[] not null check (scopes <@ array['read', 'write'] and cardinality(scopes) > 0),
  name text not null,
  -- The key that came from the environment's API_KEY or was made at the first start; at most one a merchant.
  is_default boolean not null default false,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);

create unique index api_key_one_default on api_key (merchant_id) where is_default and revoked_at is null;

create table customer (
  merchant_id text not null references merchant,
  customer_id text not null check (length(customer_id) between 1 and 64),
  -- Empty where a provider's event, which may know neither, made the customer.
  email text not null check (length(email) <= 320),
  name text not null check (length(name) <= 500),
  phone_number text check (length(phone_number) <= 50),
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  created_at timestamptz not null,
  primary key (merchant_id, customer_id)
);

create index customer_newest on customer (merchant_id, created_at desc, customer_id desc);
create index customer_by_email on customer (merchant_id, lower(email));

-- The provider's customer, as one source names it, is this customer of ours.
create table customer_link (
  merchant_id text not null,
  source_id text not null,
  provider_customer_id text not null check (length(provider_customer_id) between 1 and 255),
  customer_id text not null,
  created_at timestamptz not null default now(),
  primary key (merchant_id, source_id, provider_customer_id),
  foreign key (merchant_id, customer_id) references customer
);
