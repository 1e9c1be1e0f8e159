-- Comparing with what providers know, and messages to merchants that belong to no wallet.

-- reconciliation: read from the provider's API, because its webhook never arrived
alter table provider_event add column origin text not null default 'webhook';
-- Not checked against the rows there are, which all have the default: that would hold up every webhook meanwhile.
alter table provider_event add constraint provider_event_origin check (origin in ('webhook', 'reconciliation')) not valid;

-- When the provider's API first said the same of the payment as we do.
alter table payment add column confirmed_at timestamptz;
create index payment_by_time on payment (merchant_id, source_id, created_at, payment_id);

-- What may change at the provider long after it was made. Few parts are ever in these states, and none twice.
create index payment_part_open on payment_part (merchant_id, source_id, kind, part_id) where state in ('pending', 'open');

-- What Chokin answers for. It was told of a source at one time, and what was paid before that is none of its business
-- unless somebody asks for it; from then on, nothing may be left out, however long comparing was not possible.
create table reconciliation_source (
  merchant_id text not null references merchant,
  source_id text not null,
  known_since timestamptz not null,
  compared_until timestamptz,
  primary key (merchant_id, source_id)
);

-- One comparison of one source with its provider. It can be interrupted after any page and goes on at its cursor.
create table reconciliation (
  merchant_id text not null references merchant,
  run_id text not null,
  source_id text not null,
  provider text not null,
  since timestamptz not null,
  until timestamptz not null check (until > since),
  requested_by text not null check (requested_by in ('schedule', 'api', 'cli')),
  -- Compares only, and takes nothing in.
  dry_run boolean not null default false,
  state text not null check (state in ('running', 'finished', 'failed')),
  -- payment, refund, dispute: listing those · open: asking again for what is unfinished here, however old it is
  -- unlisted: asking for payments of ours that were not listed
  -- settling: what was missing was taken in, and is being applied
  phase text not null check (phase in ('payment', 'refund', 'dispute', 'open', 'unlisted', 'settling')),
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
  -- missing: taken in, not applied yet (a dry run leaves it at that) · healed: applied · differing: wants a person · unknown: the provider knows no such payment
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
