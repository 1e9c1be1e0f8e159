-- What makes both senders of outgoing webhooks, Svix and our own, behave alike.

-- Secrets before the one in webhook_endpoint.old_secret that still sign, because there were several rotations in a day.
create table webhook_older_secret (
  merchant_id text not null,
  endpoint_id text not null,
  secret text not null,
  valid_until timestamptz not null,
  primary key (merchant_id, endpoint_id, secret),
  foreign key (merchant_id, endpoint_id) references webhook_endpoint on delete cascade
);

-- Headers that a merchant wants on every request. Their values may be passwords, so they are encrypted like secrets; Svix
-- gives some of them back to nobody, so they are kept here for its endpoints too, which have no row in webhook_endpoint.
create table webhook_endpoint_headers (
  merchant_id text not null references merchant,
  endpoint_id text not null,
  names text[] not null check (cardinality(names) between 1 and 20),
  -- A JSON object of names and values.
  sealed text not null,
  primary key (merchant_id, endpoint_id)
);

-- Which entries of which wallet a message tells of; null for messages of another kind, and in rows older than this.
alter table webhook_message
  add column customer_id text,
  add column currency text,
  add column first_seq bigint,
  add column last_seq bigint,
  -- A test of one endpoint, which no other is to get.
  add column is_example boolean not null default false,
  add constraint webhook_message_range check ((customer_id is null) = (last_seq is null)) not valid;
create index webhook_message_by_wallet on webhook_message (merchant_id, customer_id, currency, last_seq)
  where customer_id is not null;
-- Messages of the release before, until a recovery notes their entries.
create index webhook_message_unnoted on webhook_message (merchant_id, created_at)
  where customer_id is null and event_type = 'wallet.balance.changed' and not is_example;
create index webhook_message_newest on webhook_message (merchant_id, created_at, message_id);

-- What was handed to Svix, for thirty days: the open-source server's attempts name neither our id nor the event type.
create table svix_message (
  merchant_id text not null references merchant,
  message_id text not null,
  svix_message_id text not null,
  event_type text not null,
  -- The only endpoint it was for: a test, or what a recovery made. Null for every endpoint that wanted it.
  endpoint_id text,
  customer_id text,
  currency text,
  first_seq bigint,
  last_seq bigint,
  sent_at timestamptz not null,
  primary key (merchant_id, message_id),
  check ((customer_id is null) = (last_seq is null))
);
create index svix_message_by_svix_id on svix_message (merchant_id, svix_message_id);
create index svix_message_by_wallet on svix_message (merchant_id, customer_id, currency, last_seq)
  where customer_id is not null;
create index svix_message_oldest on svix_message (sent_at);

-- Svix tells nobody that it gave up on an endpoint, so it is looked for: this is what was seen, or done by us, last.
create table svix_merchant (
  merchant_id text primary key references merchant,
  looked_at timestamptz
);
create index svix_merchant_to_look_at on svix_merchant (looked_at nulls first);
create table svix_endpoint (
  merchant_id text not null references merchant,
  endpoint_id text not null,
  disabled boolean not null,
  -- A copy of it gets messages that are for it alone.
  has_copy boolean not null default false,
  primary key (merchant_id, endpoint_id)
);

-- Sending again what an endpoint missed. It can be interrupted after any page and goes on at its place.
create table webhook_recovery (
  merchant_id text not null references merchant,
  recovery_id text not null,
  endpoint_id text not null,
  since timestamptz not null,
  until timestamptz not null check (until > since),
  state text not null check (state in ('running', 'finished', 'stopped')),
  -- kept: messages that are still stored · missing: making what was never made, from the ledger
  phase text not null check (phase in ('kept', 'missing')),
  -- JSON; null at the start of a phase.
  place text,
  resent integer not null default 0,
  rebuilt integer not null default 0,
  -- Why it was stopped.
  reason text,
  created_at timestamptz not null,
  -- It waits for this: for another's commit at the start, for the endpoint to keep up later.
  not_before timestamptz not null,
  finished_at timestamptz,
  primary key (merchant_id, recovery_id),
  check ((state = 'running') = (finished_at is null))
);
create unique index webhook_recovery_one_each on webhook_recovery (merchant_id, endpoint_id) where state = 'running';
create index webhook_recovery_running on webhook_recovery (not_before) where state = 'running';
