-- The status of a wallet (src/ledger/status/status.ts): what may happen in it. It moves no money.

-- Since when it may be changed, as with holds_from: a process of the release before would take money out of a frozen wallet.
alter table installation add column statuses_from timestamptz not null default now() + interval '7 days';
update installation set statuses_from = now() where not exists (select 1 from customer);

alter table wallet
  -- Read with the lock, so that nothing comes between.
  add column status text not null default 'active',
  add constraint wallet_status check (status in ('active', 'frozen', 'closed')
    and (status <> 'closed' or (balance = 0 and open_holds = 0 and open_lots = 0))) not valid;

-- With one kind of news more, whatever the others are by now.
do $$
declare
  kinds text;
begin
  select string_agg(quote_literal(kind[1]), ', ' order by place) into kinds
  from pg_constraint, regexp_matches(pg_get_constraintdef(oid), '''([a-z_]+)''::text', 'g') with ordinality as found (kind, place)
  where conrelid = 'wallet_alert'::regclass and conname = 'wallet_alert_kind_check';
  execute format('alter table wallet_alert drop constraint wallet_alert_kind_check,
    add constraint wallet_alert_kind_check check (kind in (%s, ''status_changed'')) not valid', kinds);
end $$;

-- How it was changed, and by whom. The last change is the one in force, and says what the wallet does not: whether credit with an end
-- is paused, and since when.
create table wallet_status_change (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  change_no bigint not null check (change_no >= 1),
  old_status text not null check (old_status in ('active', 'frozen', 'closed')),
  new_status text not null check (new_status in ('active', 'frozen', 'closed')),
  pause_expiry boolean not null,
  actor text not null check (length(actor) between 1 and 255),
  reason text check (length(reason) <= 1000),
  created_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, change_no),
  constraint wallet_status_change_pauses_frozen check (new_status = 'frozen' or not pause_expiry)
);

-- It never changes, but that its reason may be struck out.
create function refuse_change_but_status_reason() returns trigger language plpgsql as $$
begin
  old.reason := null;
  if old is not distinct from new then
    return new;
  end if;
  raise exception '% is insert-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;
create trigger wallet_status_change_is_insert_only before delete or truncate on wallet_status_change
  for each statement execute function refuse_change();
create trigger wallet_status_change_is_insert_only_but_for_texts before update on wallet_status_change
  for each row execute function refuse_change_but_status_reason();

-- Strikes the reasons of one wallet out (docs/decisions/0018-erasure.md).
create function erase_status_texts(merchant text, customer text, wallet_currency text, change_nos bigint[]) returns bigint
language sql security definer set search_path = public, pg_temp as $$
  with struck as (
    update wallet_status_change set reason = null
    where merchant_id = merchant and customer_id = customer and currency = wallet_currency and change_no = any (change_nos)
    returning 1)
  select count(*) from struck
$$;
revoke all on function erase_status_texts(text, text, text, bigint[]) from public;
