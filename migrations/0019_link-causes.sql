-- Why a provider's customer is linked with one of ours. What the release before writes, before this one or beside it, is `before`.
alter table customer_link add column cause text not null default 'before';
-- payment, order, subscription: that named the customer, where no payer could have written the name
-- replay: an operator's replay that was to teach it · operator: set by hand · created: the customer was made of the provider's
alter table customer_link add constraint customer_link_cause_check
  check (cause in ('payment', 'order', 'subscription', 'replay', 'operator', 'created', 'before')) not valid;
-- The payment that made or moved it; null where none did.
alter table customer_link add column payment_id text;
-- The provider's time of the payment that named the customer: an older payment moves it no more.
alter table customer_link add column named_at timestamptz;
create index customer_link_of_customer on customer_link (merchant_id, customer_id);

-- Whether the customer that a replay named is to be found afterwards too.
alter table provider_event add column assigned_link boolean not null default false;
