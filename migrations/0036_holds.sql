-- Holds (src/ledger/holds/hold.ts): money of a wallet that is set aside without being moved.

-- Since when holds are placed. Processes of the release before do not look at them, so not before the last of those has ended: that is
-- known when the release is closed, and taken for granted after a week. A database without customers has none.
alter table installation add column holds_from timestamptz not null default now() + interval '7 days';
update installation set holds_from = now() where not exists (select 1 from customer);

alter table wallet
  -- The sum of what is left of all open holds, so that a debit need not read them.
  add column held bigint not null default 0,
  add column open_holds integer not null default 0,
  -- How many holds the wallet ever had, which is the number of the newest.
  add column hold_seq bigint not null default 0,
  -- No open hold ends sooner. In no index, so that wallets are still updated in place.
  add column due_at timestamptz,
  add constraint wallet_held check (held between 0 and 9007199254740991 and open_holds between 0 and hold_seq
    and (open_holds > 0 or (held = 0 and due_at is null))) not valid;

-- Captures are entries of their own type, which never leave a debt.
alter table entry
  drop constraint entry_event_type_check,
  drop constraint entry_direction,
  add constraint entry_event_type_check check (event_type in (
    'payment', 'payment_reversal', 'refund', 'refund_reversal', 'dispute', 'dispute_reversal', 'merchant_adjustment',
    'hold_captured')) not valid,
  add constraint entry_direction check (case event_type
    when 'payment' then is_credit
    when 'refund' then is_credit
    when 'dispute_reversal' then is_credit
    when 'payment_reversal' then not is_credit
    when 'refund_reversal' then not is_credit
    when 'dispute' then not is_credit
    when 'hold_captured' then not is_credit
    else true end) not valid;

-- What an alert says besides the balance: of holds that expired, which.
alter table wallet_alert
  add column details jsonb,
  drop constraint wallet_alert_kind_check,
  add constraint wallet_alert_kind_check check (kind in ('low', 'recovered', 'depleted', 'hold_expired')) not valid,
  add constraint wallet_alert_details check ((details is not null) = (kind = 'hold_expired')) not valid;

-- Open holds alone, so the table stays small; closed ones move to closed_hold.
create table hold (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  hold_no bigint not null check (hold_no >= 1),
  kind text not null check (kind in ('api', 'checkout', 'dispute')),
  amount bigint not null check (amount between 1 and 9007199254740991),
  captured bigint not null check (captured >= 0),
  -- Null: only somebody ends it.
  expires_at timestamptz,
  reason text check (length(reason) <= 1000),
  reference_object_id text check (length(reference_object_id) <= 255),
  metadata jsonb check (jsonb_typeof(metadata) = 'object'),
  idempotency_key text not null check (length(idempotency_key) between 1 and 600),
  fingerprint bytea not null check (octet_length(fingerprint) = 32),
  created_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, hold_no),
  constraint hold_idempotency_key unique (merchant_id, customer_id, currency, idempotency_key),
  -- One that is captured whole is closed.
  constraint hold_is_open check (captured < amount),
  foreign key (merchant_id, customer_id, currency) references wallet
) with (fillfactor = 80);

-- Its rows were open holds of a wallet that was locked; the audit looks whether each wallet has all its numbers.
create table closed_hold (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  hold_no bigint not null,
  kind text not null,
  amount bigint not null check (amount between 1 and 9007199254740991),
  captured bigint not null check (captured >= 0),
  expires_at timestamptz,
  reason text,
  reference_object_id text,
  metadata jsonb,
  idempotency_key text not null,
  fingerprint bytea not null,
  created_at timestamptz not null,
  state text not null check (state in ('captured', 'released', 'expired')),
  released bigint not null check (released >= 0),
  release_reason text check (length(release_reason) <= 1000),
  closed_at timestamptz not null,
  primary key (merchant_id, customer_id, currency, hold_no),
  constraint closed_hold_idempotency_key unique (merchant_id, customer_id, currency, idempotency_key),
  constraint closed_hold_adds_up check (amount = captured + released)
);

-- Which entry took how much out of which hold. Without a foreign key, as erasure is; the audit compares both ways.
create table hold_capture (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  seq bigint not null,
  hold_no bigint not null,
  from_hold bigint not null check (from_hold >= 0),
  -- More than was left of the hold, or a debit after it had expired.
  beyond bigint not null check (beyond >= 0),
  primary key (merchant_id, customer_id, currency, seq),
  constraint hold_capture_of_something check (from_hold > 0 or beyond > 0)
);
create index hold_capture_hold on hold_capture (merchant_id, customer_id, currency, hold_no);
create trigger hold_capture_is_insert_only before update or delete or truncate on hold_capture
  for each statement execute function refuse_change();

-- A closed hold never changes, but that its texts may be struck out.
create function refuse_change_but_hold_texts() returns trigger language plpgsql as $$
begin
  old.reason := null;
  old.release_reason := null;
  old.metadata := null;
  if old is not distinct from new then
    return new;
  end if;
  raise exception '% is insert-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;
create trigger closed_hold_is_insert_only before delete or truncate on closed_hold
  for each statement execute function refuse_change();
create trigger closed_hold_is_insert_only_but_for_texts before update on closed_hold
  for each row execute function refuse_change_but_hold_texts();

-- The work list of wallets in which a hold ends: no later than the wallet's due_at. Not an index on wallet, which every posting
-- would have to keep.
create table wallet_due (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  due_at timestamptz not null,
  primary key (merchant_id, customer_id, currency),
  foreign key (merchant_id, customer_id, currency) references wallet
);
create index wallet_due_first on wallet_due (due_at, merchant_id, customer_id, currency);

-- Strikes the texts of holds of one wallet out (docs/decisions/0018-erasure.md).
create function erase_hold_texts(merchant text, customer text, wallet_currency text, hold_nos bigint[]) returns bigint
language sql security definer set search_path = public, pg_temp as $$
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
revoke all on function erase_hold_texts(text, text, text, bigint[]) from public;
