-- Who said whose a payment is, where no payer could have: an operator, or the merchant's own order or subscription. Null where
-- the payment itself or a link said it.
alter table payment add column named_by text;
alter table payment add constraint payment_named_by_check check (named_by in ('operator', 'order', 'subscription')) not valid;

-- What a provider calls several things by that it tells of apart: an invoice, with the payments that pay it and the customer that
-- its subscription names; a subscription, with the order that began it.
create table payment_group (
  merchant_id text not null references merchant,
  source_id text not null,
  group_id text not null,
  payment_ids text[] not null default '{}',
  customer_id text,
  created_at timestamptz not null,
  primary key (merchant_id, source_id, group_id),
  foreign key (merchant_id, customer_id) references customer
);
-- The group that a payment was told to be of.
alter table payment add column group_id text;
