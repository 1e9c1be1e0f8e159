-- Tokens that no payment used are deleted some time after they ended.

-- Whether a payment follows its terms, though it has not used it yet: an authorisation that was not captured. Such tokens are
-- kept. Of those made before, nobody has noted it, so all of them are.
alter table payment_token add column is_followed boolean not null default true;
alter table payment_token alter column is_followed set default false;

-- A customer's tokens that could still be paid with, which are counted before another is made.
create index payment_token_living on payment_token (merchant_id, customer_id, expires_at)
  where used_payment_id is null and revoked_at is null;

-- Those that ended unused, the oldest first.
create index payment_token_ended on payment_token ((least(expires_at, revoked_at)))
  where used_payment_id is null and not is_followed;
