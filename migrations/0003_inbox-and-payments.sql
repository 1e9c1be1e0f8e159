-- What providers told us, as received, and the life of each payment that it adds up to.

create table provider_event (
  event_id text primary key,
  merchant_id text not null references merchant,
  source_id text not null,
  provider text not null,
  delivery_key text not null check (length(delivery_key) between 1 and 200),
  event_type text not null check (length(event_type) <= 200),
  -- Bytes, not JSON: a correctly signed body may hold what no JSON column accepts, and must not be lost for it.
  body bytea not null,
  -- pending: to be applied · applied · ignored: not an event we act on · waiting: for its payment · parked: for a person
  -- dismissed: a person has dealt with it by hand
  state text not null check (state in ('pending', 'applied', 'ignored', 'waiting', 'parked', 'dismissed')),
  reason text,
  detail text check (length(detail) <= 2000),
  payment_id text,
  received_at timestamptz not null,
  settled_at timestamptz,
  -- When it began to wait for its payment.
  waiting_since timestamptz,
  -- The customer a person chose when the event itself does not say whose payment it is.
  assigned_customer_id text,
  replays integer not null default 0,
  constraint provider_event_delivery unique (merchant_id, source_id, delivery_key),
  check ((state = 'parked') = (reason is not null))
);

create index provider_event_by_state on provider_event (merchant_id, state, received_at desc) where state in ('pending', 'waiting', 'parked');
create index provider_event_newest on provider_event (merchant_id, received_at desc);
create index provider_event_by_payment on provider_event (merchant_id, source_id, payment_id) where payment_id is not null;

-- What a payment that arrives late has to look for; small, since most events wait for nothing.
create index provider_event_to_wake on provider_event (merchant_id, source_id, payment_id) where state in ('waiting', 'parked');

create table payment (
  merchant_id text not null references merchant,
  source_id text not null,
  payment_id text not null check (length(payment_id) between 1 and 200),
  provider text not null,
  -- unknown: only refunds or disputes of it have arrived so far
  state text not null check (state in ('unknown', 'pending', 'failed', 'succeeded')),
  purpose text check (purpose in ('topup', 'order', 'none')),
  customer_id text,
  currency text,
  amount_paid bigint check (amount_paid between 0 and 9007199254740991),
  -- The source's setting when the payment was first heard of; a later change does not reach back.
  refunds text not null check (refunds in ('auto', 'credit', 'reverse', 'ignore')),
  -- What a top-up grants where metadata says other than the amount paid.
  credit_amount bigint check (credit_amount between 0 and 9007199254740991),
  -- The wait for the payment of an early refund is over: the refund counts as an order's.
  waited_out boolean not null default false,
  posted_credit bigint not null default 0,
  postings integer not null default 0,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (merchant_id, source_id, payment_id),
  foreign key (merchant_id, customer_id) references customer
);

create index payment_by_id on payment (merchant_id, payment_id);

-- A refund or a dispute of a payment, and what the wallet has received and given back on its account so far.
create table payment_part (
  merchant_id text not null,
  source_id text not null,
  payment_id text not null,
  kind text not null check (kind in ('refund', 'dispute')),
  part_id text not null check (length(part_id) between 1 and 200),
  -- In the order in which they settled; it decides which part is netted against which.
  ordinal integer not null,
  state text not null check (state in ('pending', 'succeeded', 'failed', 'open', 'withdrawn', 'lost', 'won')),
  amount bigint check (amount between 0 and 9007199254740991),
  currency text,
  posted_credit bigint not null default 0 check (posted_credit >= 0),
  posted_take bigint not null default 0 check (posted_take >= 0),
  postings integer not null default 0,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (merchant_id, source_id, payment_id, kind, part_id),
  foreign key (merchant_id, source_id, payment_id) references payment
);
