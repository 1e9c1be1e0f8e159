-- Credit that is given at every period of a calendar (src/schedules/grant-schedule.ts).
create table grant_schedule (
  merchant_id text not null,
  customer_id text not null,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  schedule_id text not null check (schedule_id ~ '^[A-Za-z0-9_-]{1,64}$'),
  -- One that is made after it was deleted is another one, with keys of its own.
  incarnation integer not null check (incarnation >= 1),
  amount bigint not null check (amount between 1 and 9007199254740991),
  every text not null check (every in ('day', 'week', 'month', 'year')),
  anchor_at timestamptz not null,
  time_zone text not null check (length(time_zone) between 1 and 100),
  -- The terms of each grant, a lot of kind promo; its days are counted from when its period was due.
  lot_name text check (length(lot_name) <= 100),
  lot_priority integer not null check (lot_priority between 0 and 100),
  lot_days integer check (lot_days between 1 and 3660),
  ends_at timestamptz,
  count integer check (count >= 1),
  -- The first period that it grants, counted from the anchor, which may be past.
  first_period integer not null check (first_period >= 0),
  -- The next period that is to be settled: all before it are, granted or skipped.
  done integer not null,
  -- When it is looked at next; null while it is paused, and once nothing is to come.
  next_at timestamptz,
  paused boolean not null,
  actor text not null check (length(actor) between 1 and 255),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  ended_at timestamptz,
  primary key (merchant_id, customer_id, currency, schedule_id),
  constraint grant_schedule_done check (done >= first_period),
  constraint grant_schedule_next check (next_at is null or (ended_at is null and not paused)),
  foreign key (merchant_id, customer_id) references customer
);
-- What is due, by merchant, so that none waits behind another's.
create index grant_schedule_due on grant_schedule (merchant_id, next_at) where next_at is not null;
