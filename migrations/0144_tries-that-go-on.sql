-- When a payment was being tried last, by its provider: a failure that is told late, of a try from before then, ends nothing.
alter table payment add column pending_at timestamptz;
