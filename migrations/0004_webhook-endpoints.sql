-- Outgoing webhooks of the embedded sender. With Svix, Svix keeps all of this instead.

create table webhook_endpoint (
  merchant_id text not null references merchant,
  endpoint_id text not null,
  url text not null check (length(url) <= 2000),
  description text not null default '' check (length(description) <= 500),
  -- Null means every event type.
  event_types text[],
  disabled boolean not null default false,
  secret text not null,
  -- The secret before the last rotation signs too until this time.
  old_secret text,
  old_secret_until timestamptz,
  failing_since timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (merchant_id, endpoint_id)
);

create table webhook_message (
  merchant_id text not null references merchant,
  message_id text not null,
  event_type text not null,
  payload text not null,
  created_at timestamptz not null,
  primary key (merchant_id, message_id)
);

create table webhook_delivery (
  merchant_id text not null,
  message_id text not null,
  endpoint_id text not null,
  state text not null check (state in ('pending', 'delivered', 'failed')),
  attempts integer not null default 0,
  next_attempt_at timestamptz,
  primary key (merchant_id, message_id, endpoint_id),
  foreign key (merchant_id, message_id) references webhook_message,
  foreign key (merchant_id, endpoint_id) references webhook_endpoint on delete cascade,
  -- A pending delivery always says when it is due, so that one which lost its job can be found.
  check ((state = 'pending') = (next_attempt_at is not null))
);

-- Deleting an endpoint looks for its deliveries.
create index webhook_delivery_by_endpoint on webhook_delivery (merchant_id, endpoint_id);
create index webhook_delivery_due on webhook_delivery (next_attempt_at) where state = 'pending';

create table webhook_attempt (
  merchant_id text not null,
  attempt_id text not null,
  message_id text not null,
  endpoint_id text not null,
  status_code integer,
  error text,
  response text,
  duration_ms integer not null,
  created_at timestamptz not null,
  primary key (merchant_id, attempt_id),
  foreign key (merchant_id, message_id, endpoint_id) references webhook_delivery on delete cascade
);

-- Deleting a delivery looks for its attempts.
create index webhook_attempt_by_delivery on webhook_attempt (merchant_id, message_id, endpoint_id);
create index webhook_attempt_newest on webhook_attempt (merchant_id, endpoint_id, created_at desc);
