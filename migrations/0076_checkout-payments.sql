-- What the payment of a checkout (0071) moves, and an amount that a person accepts for one.
alter table payment
  -- Of the wallet's part of its checkout, what went back since captures of the payment fell, net.
  add column posted_return bigint not null default 0,
  add constraint payment_return check (posted_return between 0 and 9007199254740991 and (posted_return = 0 or purpose = 'checkout')) not valid;

-- Whoever has an event applied again may take another amount than its checkout was of.
alter table provider_event add column accepts_amount boolean not null default false;
