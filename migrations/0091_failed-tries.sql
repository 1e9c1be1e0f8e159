-- When a payment failed last, by its provider: what is told late of a try from before then keeps nothing waiting.
alter table payment add column failed_at timestamptz;
