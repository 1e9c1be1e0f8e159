-- Which installation this database is, so that two of them can share one Svix account without sharing applications.

create table installation (
  -- One row, for ever.
  is_only boolean primary key default true check (is_only),
  installation_id text not null check (installation_id ~ '^ins_[0-9a-f]{32}$'),
  created_at timestamptz not null default now()
);
insert into installation (installation_id) values ('ins_' || replace(gen_random_uuid()::text, '-', ''));

-- When the endpoint was copied to Svix. Until it is copied back, Svix has its newest settings.
alter table webhook_endpoint add column moved_at timestamptz;

-- Svix refused whatever the first release sent it, and a refusal puts the next try off for a quarter of an hour.
update unannounced_wallet set retry_at = null where retry_at is not null;
update unsent_message set retry_at = null where retry_at is not null;
