-- What operators look at: which trace each thing belongs to, and deliveries that were given up.

-- Where a trace goes on (a W3C `traceparent`), for what another process takes up later. Null unless traces are collected.
alter table provider_event
  add column trace_parent text check (trace_parent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
alter table unannounced_wallet
  add column trace_parent text check (trace_parent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
alter table webhook_message
  add column trace_parent text check (trace_parent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');

-- Counted whenever metrics are read, among many more that succeeded.
create index webhook_delivery_failed on webhook_delivery (merchant_id, endpoint_id) where state = 'failed';
