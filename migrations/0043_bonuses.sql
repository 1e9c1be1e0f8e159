-- Bonuses of top-ups (src/payments/bonus.ts): what a payment grants beyond what was paid is an entry of its own.

alter table payment
  -- False where what it grants was decided by a release that posted all of it as one entry; those go on as they were.
  add column bonus_split boolean not null default false,
  -- What it grants on top of what was paid, decided at its first success: null before, 0 for nothing.
  add column bonus_amount bigint,
  -- What is to be paid for the whole of it; null: what was authorised, or else paid.
  add column bonus_price bigint,
  -- The rule that gave it. Rules may be deleted, so nothing refers to them.
  add column bonus_rule_id text,
  -- After so many days the bonus ends, and what was paid; null: never.
  add column bonus_days integer,
  add column paid_days integer,
  -- What was posted of it by the payment itself, and in how many entries.
  add column posted_bonus bigint not null default 0,
  add column bonus_postings integer not null default 0,
  -- What of it had expired or was voided when its entries were last decided, and what of that was lost elsewhere.
  add column bonus_lost bigint not null default 0,
  add column bonus_lost_before bigint not null default 0,
  -- What of the payment was undone then, and how much was paid.
  add column bonus_undone bigint not null default 0,
  add column bonus_paid bigint,
  add constraint payment_bonus check (bonus_amount between 0 and 9007199254740991 and bonus_price between 1 and 9007199254740991
    and bonus_days between 1 and 3660 and paid_days between 1 and 3660 and length(bonus_rule_id) <= 64
    and posted_bonus between 0 and 9007199254740991 and bonus_postings >= 0 and bonus_lost >= 0 and bonus_undone >= 0
    and (bonus_split or (posted_bonus = 0 and bonus_postings = 0))) not valid;

alter table payment_part
  -- What was taken of the payment's bonus on its account, net, and by how many entries.
  add column posted_bonus_take bigint not null default 0,
  add column bonus_postings integer not null default 0,
  add constraint payment_part_bonus check (posted_bonus_take between 0 and 9007199254740991 and bonus_postings >= 0) not valid;

-- What went along of the payment's bonus.
alter table payment_move
  add column bonus bigint not null default 0,
  add constraint payment_move_bonus check (bonus between 0 and 9007199254740991) not valid;

alter table payment_token
  add column bonus_amount bigint,
  add column bonus_days integer,
  add column paid_days integer,
  add constraint payment_token_bonus check (bonus_amount between 1 and 9007199254740991 and bonus_days between 1 and 3660
    and paid_days between 1 and 3660 and (bonus_amount is null or (amount is not null and credit_amount is null))
    and (purpose = 'topup' or (bonus_amount is null and bonus_days is null and paid_days is null))) not valid;

-- What merchants give on top of top-ups. Of those that fit a payment the first counts, by priority and then by id.
create table bonus_rule (
  merchant_id text not null references merchant,
  rule_id text not null check (rule_id ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  min_paid bigint not null check (min_paid between 1 and 9007199254740991),
  max_paid bigint check (max_paid between min_paid and 9007199254740991),
  -- Hundredths of a per cent of what was paid, or a fixed amount.
  basis_points integer check (basis_points between 1 and 1000000),
  fixed bigint check (fixed between 1 and 9007199254740991),
  max_bonus bigint check (max_bonus between 1 and 9007199254740991),
  expires_in_days integer check (expires_in_days between 1 and 3660),
  first_top_up_only boolean not null,
  per_customer_limit integer check (per_customer_limit between 1 and 1000),
  starts_at timestamptz,
  ends_at timestamptz,
  -- Only payments of these; null: of all.
  sources jsonb check (jsonb_typeof(sources) = 'array'),
  -- Lower ones go first.
  priority integer not null check (priority between 0 and 1000),
  actor text not null check (length(actor) between 1 and 255),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (merchant_id, rule_id),
  check ((basis_points is null) <> (fixed is null)),
  check (starts_at < ends_at)
);
