-- Jobs that hold all events of a commit (src/inbox/enqueue.ts).

-- Since when they are made, as with holds_from: a worker of the release before does not know them, and would find their events only after minutes.
alter table installation add column event_jobs_from timestamptz not null default now() + interval '7 days';
update installation set event_jobs_from = now() where not exists (select 1 from customer);
