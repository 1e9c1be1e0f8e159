-- What a payment's money did, as the provider told it: what was said of each refund and dispute, and the movements that
-- have no entries of their own. The release before reads none of these columns and not this table.

-- Whether an authorisation is the money, or only what is captured of it, for providers that tell both.
alter table source add column capture text not null default 'automatic';
alter table source add constraint source_capture_check check (capture in ('automatic', 'manual')) not valid;

-- The source's setting when the payment was first heard of.
alter table payment add column capture text not null default 'automatic';
alter table payment add constraint payment_capture_check check (capture in ('automatic', 'manual')) not valid;
-- News of the payment itself has come and is parked: nobody may count its refunds as an order's.
alter table payment add column heard_of boolean not null default false;
-- When it succeeded, by the provider's earliest word.
alter table payment add column paid_at timestamptz;

-- object: the newest word counts · total: a sum that only grows · movement: money that went back once
-- informs: tells what other parts tell too
alter table payment_part add column role text not null default 'object';
alter table payment_part add constraint payment_part_role_check check (role in ('object', 'total', 'movement', 'informs')) not valid;
-- All that was said of it, as [{state, at, stage, amountMinor, reason, mark}]; null until this release hears of it.
-- The state and amount beside it follow from that.
alter table payment_part add column told jsonb;
-- When an informing dispute was opened.
alter table payment_part add column opened_at timestamptz;

create table payment_movement (
  merchant_id text not null,
  source_id text not null,
  payment_id text not null,
  -- authorisation, adjustment: how much may be captured · capture: money that came in · end: no more will be captured
  -- reinstatement: money of a chargeback that came back · uncaptured: what was authorised and never captured
  kind text not null check (kind in ('authorisation', 'adjustment', 'capture', 'end', 'reinstatement', 'uncaptured')),
  movement_id text not null check (length(movement_id) between 1 and 200),
  state text not null check (state in ('succeeded', 'failed')),
  amount bigint not null check (amount between 0 and 9007199254740991),
  currency text,
  told jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (merchant_id, source_id, payment_id, kind, movement_id),
  foreign key (merchant_id, source_id, payment_id) references payment
);
