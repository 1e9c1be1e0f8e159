-- The token that stands on the subscription that an invoice is of, by its hash, and the provider's id of that subscription: its payments do
-- not carry the token, and later ones are named by it.
alter table payment_group
  add column token_hash bytea,
  add column series_id text;
