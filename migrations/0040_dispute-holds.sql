-- Holds for open disputes of payments (src/payments/dispute-holds.ts).

-- What open disputes of a source's payments do. A payment keeps what its source said when it was first heard of; those that were
-- heard of before go on as they were, and so do those that a process of the release before stores.
alter table source
  add column disputes text not null default 'hold',
  add constraint source_disputes_check check (disputes in ('hold', 'record')) not valid;
alter table payment
  add column disputes text not null default 'record',
  add constraint payment_disputes_check check (disputes in ('hold', 'record')) not valid;

alter table payment_part
  -- What losing an open dispute would take, of which as much is held as was there.
  add column hold_wanted bigint not null default 0,
  -- The open hold in the customer's wallet.
  add column hold_no bigint,
  -- How often a hold was wanted anew, which numbers their keys.
  add column holds integer not null default 0,
  add constraint payment_part_hold check (hold_wanted between 0 and 9007199254740991 and holds >= 0
    and (hold_wanted = 0 or (kind = 'dispute' and holds > 0)) and (hold_no is null or hold_wanted > 0)) not valid;

-- Keys of payments are longer than those of requests.
alter table hold
  drop constraint hold_idempotency_key_check,
  add constraint hold_idempotency_key_check check (length(idempotency_key) between 1 and 1300);

alter table wallet_alert
  drop constraint wallet_alert_kind_check,
  drop constraint wallet_alert_details,
  add constraint wallet_alert_kind_check
    check (kind in ('low', 'recovered', 'depleted', 'hold_expired', 'hold_placed', 'hold_lifted')) not valid,
  add constraint wallet_alert_details check ((details is not null) = (kind in ('hold_expired', 'hold_placed', 'hold_lifted'))) not valid;

-- What was taken beyond a hold is in its newest two captures: that which closed it, and a debit that came late.
drop index hold_capture_hold;
create index hold_capture_newest on hold_capture (merchant_id, customer_id, currency, hold_no, seq);
