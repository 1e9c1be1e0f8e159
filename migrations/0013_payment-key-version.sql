-- How the keys of a payment's entries are written: see src/ledger/keys.ts. Keys that are stored are never rewritten.

-- The default is what stands, and what processes of the release before write while they still run.
alter table payment add column key_version smallint not null default 1;
-- Not checked against the rows there are, which all have the default: that would hold up every payment meanwhile.
alter table payment add constraint payment_key_version check (key_version in (1, 2)) not valid;

-- A key of version 2 may be three times as long as its ids, 200 characters each. What is stored is shorter than 600.
alter table entry
  drop constraint entry_idempotency_key_check,
  add constraint entry_idempotency_key_check check (length(idempotency_key) between 1 and 1300) not valid;
