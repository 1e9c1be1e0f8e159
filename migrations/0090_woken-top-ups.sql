-- When a wallet of the work list was woken since somebody last took it to look at it: what may be charged now can be other than what he was told then.
alter table topup_due add column woken_at timestamptz;
