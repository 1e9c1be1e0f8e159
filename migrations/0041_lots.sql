-- Lots (src/ledger/lots/lot.ts): credit with terms of its own. What has no terms is the base, balance - in_lots, and no row.

-- Since when lots are opened, as with holds_from: a process of the release before would spend from a wallet past its lots.
alter table installation add column lots_from timestamptz not null default now() + interval '7 days';
update installation set lots_from = now() where not exists (select 1 from customer);

alter table wallet
  -- The sum of what is left of all open lots. A wallet without lots reads and writes nothing more than these.
  add column in_lots bigint not null default 0,
  add column open_lots integer not null default 0,
  -- How many lots the wallet ever had, which is the number of the newest.
  add column lot_seq bigint not null default 0,
  drop constraint wallet_held,
  -- due_at is now also no later than the end of any lot, and what is to be told before it.
  add constraint wallet_held check (held between 0 and 9007199254740991 and open_holds between 0 and hold_seq
    and (open_holds > 0 or held = 0) and (open_holds > 0 or open_lots > 0 or due_at is null)) not valid,
  -- The base is a debt only where no lot is open: taking back drains the lots before it leaves one.
  add constraint wallet_lots check (open_lots between 0 and lot_seq and (open_lots > 0) = (in_lots > 0) and in_lots >= 0
    and (open_lots = 0 or in_lots <= balance)) not valid;

-- With those types that bonuses and checkouts are to post, since each change of these reads all entries to be validated.
alter table entry
  drop constraint entry_event_type_check,
  drop constraint entry_direction,
  drop constraint entry_overdraft,
  add constraint entry_event_type_check check (event_type in (
    'payment', 'payment_reversal', 'refund', 'refund_reversal', 'dispute', 'dispute_reversal', 'merchant_adjustment',
    'hold_captured', 'credit_expired', 'credit_voided', 'bonus', 'bonus_reversal', 'checkout_refunded',
    'checkout_refund_reversal')) not valid,
  add constraint entry_direction check (case
    when event_type in ('payment', 'refund', 'dispute_reversal', 'bonus', 'checkout_refunded') then is_credit
    when event_type in ('payment_reversal', 'refund_reversal', 'dispute', 'hold_captured', 'credit_expired', 'credit_voided',
      'bonus_reversal', 'checkout_refund_reversal') then not is_credit
    else true end) not valid,
  add constraint entry_overdraft check (after_balance >= 0 or is_credit
    or event_type in ('payment_reversal', 'refund_reversal', 'dispute', 'bonus_reversal', 'checkout_refund_reversal')) not valid;

alter table wallet_alert
  drop constraint wallet_alert_kind_check,
  drop constraint wallet_alert_details,
  add constraint wallet_alert_kind_check check (kind in ('low', 'recovered', 'depleted', 'hold_expired', 'hold_placed', 'hold_lifted',
    'credit_expiring', 'credit_expired', 'credit_voided')) not valid,
  add constraint wallet_alert_details check ((details is not null) = (kind not in ('low', 'recovered', 'depleted'))) not valid;

-- Open lots alone; closed ones move to closed_lot.
create table lot (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  lot_no bigint not null check (lot_no >= 1),
  kind text not null check (kind in ('promo', 'paid', 'refund', 'adjustment')),
  name text check (length(name) <= 100),
  -- Lower ones are spent first.
  priority integer not null check (priority between 0 and 100),
  amount bigint not null check (amount between 1 and 9007199254740991),
  -- One of which nothing is left is closed.
  remaining bigint not null check (remaining >= 1),
  spent bigint not null check (spent >= 0),
  expired bigint not null check (expired >= 0),
  voided bigint not null check (voided >= 0),
  taken_back bigint not null check (taken_back >= 0),
  -- Null: never.
  expires_at timestamptz,
  -- So many days before its end it was last told of; 0 if it was not.
  notices integer not null check (notices >= 0),
  -- The entry that gave the credit, and its key if a payment did.
  origin_seq bigint not null check (origin_seq >= 1),
  origin_key text,
  -- How many rows of lot_change it has.
  changes integer not null check (changes >= 0),
  created_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, lot_no),
  constraint lot_adds_up check (amount = remaining + spent + expired + voided + taken_back),
  foreign key (merchant_id, customer_id, currency) references wallet
) with (fillfactor = 80);

create table closed_lot (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  lot_no bigint not null,
  kind text not null,
  name text,
  priority integer not null,
  amount bigint not null check (amount between 1 and 9007199254740991),
  spent bigint not null check (spent >= 0),
  expired bigint not null check (expired >= 0),
  voided bigint not null check (voided >= 0),
  taken_back bigint not null check (taken_back >= 0),
  expires_at timestamptz,
  notices integer not null,
  origin_seq bigint not null,
  origin_key text,
  changes integer not null,
  created_at timestamptz not null,
  state text not null check (state in ('drained', 'expired', 'voided', 'taken_back')),
  closed_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, lot_no),
  constraint closed_lot_adds_up check (amount = spent + expired + voided + taken_back)
);

-- What an entry put into a lot, or took out of it. What it moved besides is the base's. The audit compares both ways.
create table lot_movement (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  seq bigint not null check (seq >= 1),
  lot_no bigint not null,
  amount bigint not null check (amount <> 0),
  primary key (merchant_id, customer_id, currency, seq, lot_no)
);
create index lot_movement_lot on lot_movement (merchant_id, customer_id, currency, lot_no, seq);
create trigger lot_movement_is_insert_only before update or delete or truncate on lot_movement
  for each statement execute function refuse_change();

-- How the terms of a lot were changed, and by whom. It moves no money, so it is no entry.
create table lot_change (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  lot_no bigint not null,
  change_no integer not null check (change_no >= 1),
  actor text not null check (length(actor) between 1 and 255),
  reason text check (length(reason) <= 1000),
  old_expires_at timestamptz,
  new_expires_at timestamptz,
  old_priority integer not null,
  new_priority integer not null check (new_priority between 0 and 100),
  created_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, lot_no, change_no)
);

-- Neither ever changes, but that their texts may be struck out.
create function refuse_change_but_lot_name() returns trigger language plpgsql as $$
begin
  old.name := null;
  if old is not distinct from new then
    return new;
  end if;
  raise exception '% is insert-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;
create trigger closed_lot_is_insert_only before delete or truncate on closed_lot
  for each statement execute function refuse_change();
create trigger closed_lot_is_insert_only_but_for_texts before update on closed_lot
  for each row execute function refuse_change_but_lot_name();

create function refuse_change_but_lot_reason() returns trigger language plpgsql as $$
begin
  old.reason := null;
  if old is not distinct from new then
    return new;
  end if;
  raise exception '% is insert-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;
create trigger lot_change_is_insert_only before delete or truncate on lot_change
  for each statement execute function refuse_change();
create trigger lot_change_is_insert_only_but_for_texts before update on lot_change
  for each row execute function refuse_change_but_lot_reason();

-- Strikes the texts of lots of one wallet out (docs/decisions/0018-erasure.md).
create function erase_lot_texts(merchant text, customer text, wallet_currency text, lot_nos bigint[]) returns bigint
language sql security definer set search_path = public, pg_temp as $$
  with open as (
    update lot set name = null
    where merchant_id = merchant and customer_id = customer and currency = wallet_currency and lot_no = any (lot_nos)
    returning 1),
  closed as (
    update closed_lot set name = null
    where merchant_id = merchant and customer_id = customer and currency = wallet_currency and lot_no = any (lot_nos)
    returning 1),
  changed as (
    update lot_change set reason = null
    where merchant_id = merchant and customer_id = customer and currency = wallet_currency and lot_no = any (lot_nos))
  select (select count(*) from open) + (select count(*) from closed)
$$;
revoke all on function erase_lot_texts(text, text, text, bigint[]) from public;
