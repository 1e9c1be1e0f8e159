-- Checkouts (src/ledger/checkouts/checkout.ts): purchases that the wallet pays a part of, and a provider the rest.

-- Since when they are opened, as with holds_from: a process of the release before would credit a payment that is to complete one.
alter table installation add column checkouts_from timestamptz not null default now() + interval '7 days';
update installation set checkouts_from = now() where not exists (select 1 from customer);

create table checkout (
  merchant_id text not null,
  customer_id text not null,
  checkout_id text not null check (checkout_id ~ '^chk_[0-9a-z]{26}$'),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  state text not null check (state in ('open', 'completed', 'short', 'expired', 'cancelled')),
  total bigint not null check (total between 1 and 9007199254740991),
  -- Told by the merchant, and nothing goes by it.
  tax bigint check (tax between 0 and 9007199254740991),
  wallet_part bigint not null check (wallet_part >= 0),
  payment_part bigint not null check (payment_part >= 0),
  -- Sold with it, so that what is charged is as much as the provider charges at least.
  credit_bought bigint not null check (credit_bought between 0 and 9007199254740991),
  adjusted text not null check (adjusted in ('none', 'wallet_reduced', 'credit_bought')),
  -- What the provider charged at least when it was opened; 0: nobody knows.
  gateway_minimum bigint not null check (gateway_minimum between 0 and 9007199254740991),
  -- Words of what its owner should know, said when it was opened.
  warnings jsonb not null check (jsonb_typeof(warnings) = 'array'),
  amount_check text not null check (amount_check in ('exact', 'at_least')),
  wallet_refunds text not null check (wallet_refunds in ('proportional', 'manual')),
  -- The hold of the wallet's part; null where that is 0.
  hold_no bigint,
  captured bigint not null check (captured between 0 and 9007199254740991),
  uncollected bigint not null check (uncollected between 0 and 9007199254740991),
  wallet_returned bigint not null check (wallet_returned between 0 and total),
  payment_refunded bigint not null check (payment_refunded between 0 and 9007199254740991),
  -- More went back by both ways together than the purchase had cost.
  over_refunded boolean not null,
  -- Where it is paid, as far as that is known, and by which payment.
  source_id text,
  payment_id text,
  -- What that payment has in common with its renewals.
  series_id text,
  -- The provider's page on which it is paid, where we asked for one.
  session_id text check (length(session_id) <= 255),
  session_url text check (length(session_url) <= 10000),
  reference_object_id text check (length(reference_object_id) <= 255),
  reason text check (length(reason) <= 1000),
  metadata jsonb check (jsonb_typeof(metadata) = 'object'),
  idempotency_key text not null check (length(idempotency_key) between 1 and 300),
  fingerprint bytea not null check (octet_length(fingerprint) = 32),
  -- As agreed; while one of its payments is under way or is looked at, it ends later.
  expires_at timestamptz not null,
  prolonged_until timestamptz,
  created_at timestamptz not null,
  completed_at timestamptz,
  primary key (merchant_id, customer_id, checkout_id),
  -- Payments name a checkout by its id.
  constraint checkout_by_id unique (merchant_id, checkout_id),
  constraint checkout_idempotency_key unique (merchant_id, customer_id, idempotency_key),
  constraint checkout_adds_up check (wallet_part + payment_part = total),
  constraint checkout_hold check ((hold_no is null) = (wallet_part = 0)),
  constraint checkout_credit check ((credit_bought > 0) = (adjusted = 'credit_bought') and (credit_bought = 0 or payment_part > 0)),
  constraint checkout_captured check (case
    when state in ('completed', 'short') then captured + uncollected = wallet_part and (uncollected > 0) = (state = 'short')
    else captured = 0 and uncollected = 0 end),
  constraint checkout_paid check (case
    when state in ('completed', 'short') then payment_part = 0 or (payment_id is not null and source_id is not null)
    else payment_id is null end),
  constraint checkout_completed check ((completed_at is not null) = (state = 'completed')),
  foreign key (merchant_id, customer_id, currency) references wallet
);

-- The work list of open checkouts: when each ends.
create table checkout_due (
  merchant_id text not null,
  customer_id text not null,
  checkout_id text not null,
  due_at timestamptz not null,
  primary key (merchant_id, customer_id, checkout_id),
  foreign key (merchant_id, customer_id, checkout_id) references checkout
);
-- By merchant, so that none waits behind another's.
create index checkout_due_first on checkout_due (merchant_id, due_at);

alter table payment
  -- The checkout that it pays, or part of it.
  add column checkout_id text,
  drop constraint payment_purpose_check,
  add constraint payment_purpose_check check (purpose in ('topup', 'order', 'none', 'checkout')) not valid,
  add constraint payment_checkout check (purpose is distinct from 'checkout' or checkout_id is not null) not valid;

-- What was to be of a checkout may be handled by hand too.
alter table handled_movement
  drop constraint handled_movement_purpose_check,
  add constraint handled_movement_purpose_check check (purpose in ('topup', 'order', 'none', 'checkout')) not valid;
