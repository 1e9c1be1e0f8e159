-- Where the workers of this database have sent webhooks from: by which server and database, and under which address. A copy
-- that is restored elsewhere brings these rows along and finds itself at a place that is not among them, so it sends nothing.

create table installation_home (
  -- '<system identifier>:<oid of the database>'
  database_identity text not null check (database_identity ~ '^\d*:\d+$'),
  -- '<host>/<name of the database>' of the worker's DATABASE_URL
  address text not null check (length(address) between 1 and 1000),
  noted_at timestamptz not null default now(),
  primary key (database_identity, address)
);
