alter table topup validate constraint topup_idempotency_key_check;
