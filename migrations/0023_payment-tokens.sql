-- Terms that a merchant's server agreed on for one payment. The payment carries a token that names them, so that it does not
-- matter who wrote it there.

create table payment_token (
  merchant_id text not null references merchant,
  -- SHA-256 of the token, which nobody can guess: whoever reads this table cannot use it.
  token_hash bytea not null check (octet_length(token_hash) = 32),
  customer_id text not null,
  purpose text not null check (purpose in ('topup', 'order')),
  currency text not null,
  -- What must at least be paid; null for any amount.
  amount bigint check (amount between 1 and 9007199254740991),
  -- What a top-up grants where that is not what was paid.
  credit_amount bigint check (credit_amount between 1 and 9007199254740991),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  -- The payment that used it, once one has.
  used_source_id text,
  used_payment_id text,
  used_at timestamptz,
  -- What that payment has in common with its renewals: the provider's id of their subscription or order.
  series_id text,
  primary key (merchant_id, token_hash),
  foreign key (merchant_id, customer_id) references customer,
  check (credit_amount is null or (amount is not null and purpose = 'topup')),
  check ((used_payment_id is null) = (used_source_id is null) and (used_payment_id is null) = (used_at is null))
);

-- The token whose terms a payment follows, and what is to be paid by them in all before anything is credited.
alter table payment add column token_hash bytea;
alter table payment add column agreed_amount bigint;
