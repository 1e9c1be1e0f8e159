-- The provider's time of the payment that named the customer of an erased link: an older payment moves it no more. Unknown of those that the
-- release before keeps.
alter table erased_link add column named_at timestamptz;
