-- Since when bonuses are entries of their own, as with lots_from: a process of the release before knows lots and would post such a bonus in
-- the one entry of its payment, and take it back there.
alter table installation add column bonuses_from timestamptz not null default now() + interval '7 days';
update installation set bonuses_from = now() where not exists (select 1 from customer);
