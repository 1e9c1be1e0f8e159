-- Comparing with what providers know, and messages to merchants that belong to no wallet.

alter table provider_event
  -- reconciliation: read from the provider's API, because its webhook never arrived
  add column origin text not null default 'webhook' check (origin in ('webhook', 'reconciliation'));

-- When the provider's API last said the same of the payment as we do.
alter table payment add column confirmed_at timestamptz;
-- Payments are written in the order of time, so a few pages of ranges tell where a day's are.
create index payment_created on payment using brin (created_at);

-- One comparison of one source with its provider. It can be interrupted after any page and goes on at its cursor.
create table reconciliation (
  merchant_id text not null references merchant,
  run_id text not null,
  source_id text not null,
  provider text not null,
  since timestamptz not null,
  until timestamptz not null check (until > since),
  requested_by text not null check (requested_by in ('schedule', 'api', 'cli')),
  state text not null check (state in ('running', 'finished', 'failed')),
  -- payment, refund, dispute: listing those · unlisted: asking for payments of ours that were not listed
  -- settling: what was missing was taken in, and is being applied
  phase text not null check (phase in ('payment', 'refund', 'dispute', 'unlisted', 'settling')),
  cursor text check (length(cursor) <= 1000),
  listed bigint not null default 0,
  matched bigint not null default 0,
  -- Why it failed or does not get on.
  problem text check (length(problem) <= 500),
  -- Whoever works on it; nobody else may until then.
  leased_by text,
  leased_until timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  finished_at timestamptz,
  primary key (merchant_id, run_id),
  check ((state = 'running') = (finished_at is null))
);

create unique index reconciliation_one_running on reconciliation (merchant_id, source_id) where state = 'running';
create index reconciliation_newest on reconciliation (merchant_id, created_at desc);

-- What a run found that did not simply match.
create table reconciliation_item (
  merchant_id text not null,
  run_id text not null,
  kind text not null check (kind in ('payment', 'refund', 'dispute')),
  object_id text not null,
  payment_id text,
  -- missing: taken in, not applied yet · healed: applied · differing: wants a person · unknown: the provider knows no such payment
  outcome text not null check (outcome in ('missing', 'healed', 'differing', 'unknown')),
  reason text check (length(reason) <= 500),
  event_id text,
  found_at timestamptz not null,
  primary key (merchant_id, run_id, kind, object_id),
  foreign key (merchant_id, run_id) references reconciliation on delete cascade
);

create index reconciliation_item_missing on reconciliation_item (merchant_id, run_id) where outcome = 'missing';

-- Messages to merchants that say nothing of a wallet's balance, until they are handed over.
create table unsent_message (
  merchant_id text not null references merchant,
  message_id text not null,
  event_type text not null,
  payload text not null,
  since timestamptz not null,
  claimed_until timestamptz,
  attempts integer not null default 0,
  retry_at timestamptz,
  last_error text check (length(last_error) <= 500),
  primary key (merchant_id, message_id)
);

create index unsent_message_oldest on unsent_message (since);
