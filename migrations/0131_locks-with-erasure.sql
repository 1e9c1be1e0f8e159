-- What strikes texts out locks its wallet by itself: a batch that has read such a text copies or moves it, and has done so before or finds
-- none. So whoever calls has nothing to join the call with, which Citus would send to a node that knows only parts of the tables.

create or replace function erase_hold_texts(merchant text, customer text, wallet_currency text, hold_nos bigint[]) returns bigint
language sql security definer set search_path = public, pg_temp as $$
  select 1 from wallet where merchant_id = merchant and customer_id = customer and currency = wallet_currency for update;
  with open as (
    update hold set reason = null, metadata = null
    where merchant_id = merchant and customer_id = customer and currency = wallet_currency and hold_no = any (hold_nos)
    returning 1),
  closed as (
    update closed_hold set reason = null, release_reason = null, metadata = null
    where merchant_id = merchant and customer_id = customer and currency = wallet_currency and hold_no = any (hold_nos)
    returning 1)
  select (select count(*) from open) + (select count(*) from closed)
$$;

create or replace function erase_lot_texts(merchant text, customer text, wallet_currency text, lot_nos bigint[]) returns bigint
language sql security definer set search_path = public, pg_temp as $$
  select 1 from wallet where merchant_id = merchant and customer_id = customer and currency = wallet_currency for update;
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

create or replace function erase_status_texts(merchant text, customer text, wallet_currency text, change_nos bigint[]) returns bigint
language sql security definer set search_path = public, pg_temp as $$
  select 1 from wallet where merchant_id = merchant and customer_id = customer and currency = wallet_currency for update;
  with struck as (
    update wallet_status_change set reason = null
    where merchant_id = merchant and customer_id = customer and currency = wallet_currency and change_no = any (change_nos)
    returning 1)
  select count(*) from struck
$$;
