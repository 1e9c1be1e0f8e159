-- What each scheduled audit found, for the metric and for the record.

create table audit_run (
  run_id bigint generated always as identity primary key,
  disagreements integer not null check (disagreements >= 0),
  duration_ms integer not null,
  finished_at timestamptz not null
);
