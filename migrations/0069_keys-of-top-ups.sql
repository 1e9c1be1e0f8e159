-- A key is stored with a mark of who made it, so it may be longer than the 255 characters that a request may give. Validated by 0070.
alter table topup drop constraint topup_idempotency_key_check,
  add constraint topup_idempotency_key_check check (length(idempotency_key) between 1 and 300) not valid;
