-- What each API key has used of its minute, over all web processes. The columns and their order are those of the package
-- rate-limiter-flexible. Nothing of it has to outlive a crash, so that its writes spare the log.
create unlogged table rate_limit (
  key text primary key,
  points integer not null,
  -- Milliseconds since 1970.
  expire bigint
);
