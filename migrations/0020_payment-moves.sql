-- A payment that was given to another customer than the one it had been posted for.

create table payment_move (
  merchant_id text not null,
  source_id text not null,
  payment_id text not null,
  -- From 1 for each payment; it numbers the keys of the two entries.
  move integer not null check (move > 0),
  from_customer_id text not null,
  to_customer_id text not null check (to_customer_id <> from_customer_id),
  -- What the payment had left in the wallet in this currency; negative where it had taken more than it gave. 0: no entries.
  net bigint not null check (net between -9007199254740991 and 9007199254740991),
  currency text,
  -- How many entries the payment had caused at the customer it was taken from.
  entries integer not null check (entries >= 0),
  actor text not null check (actor in ('api', 'cli')),
  reason text not null check (length(reason) between 1 and 500),
  created_at timestamptz not null,
  primary key (merchant_id, source_id, payment_id, move),
  check (net = 0 or currency is not null),
  foreign key (merchant_id, source_id, payment_id) references payment,
  foreign key (merchant_id, from_customer_id) references customer,
  foreign key (merchant_id, to_customer_id) references customer
);

-- How many rows it has there. The release before neither reads nor changes it.
alter table payment add column moves integer not null default 0;
