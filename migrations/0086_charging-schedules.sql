-- Schedules whose periods are paid (src/schedules/refill.ts): of each the newest period for which the customer is to be charged. Validated by 0087.
alter table grant_schedule
  add column charge boolean not null default false,
  -- The newest period that was due while it charged, and what it was to be charged with then.
  add column refill_period integer,
  add column refill_amount bigint,
  -- due: nobody was asked to pay yet. tried: a top-up was begun. done: nothing more is tried. skipped: nobody was ever asked.
  add column refill_state text,
  add constraint grant_schedule_refill_state check (refill_state in ('due', 'tried', 'done', 'skipped')) not valid,
  add constraint grant_schedule_refill check (
    (refill_period is null) = (refill_state is null) and (refill_amount is null) = (refill_state is null)
    and coalesce(refill_period < done and refill_amount between 1 and 9007199254740991, true)) not valid,
  -- What was called off is never charged, whatever any code thinks.
  add constraint grant_schedule_refill_open check (
    coalesce(refill_state not in ('due', 'tried'), true) or (charge and not paused and ended_at is null)) not valid,
  -- The terms of credit that is given; credit that is paid has none.
  add constraint grant_schedule_charge check (not charge or lot_days is null) not valid;
-- What a schedule begins is begun for one of its periods, which its key names.
alter table topup add constraint topup_schedule check (origin <> 'schedule' or idempotency_key is not null) not valid;
