-- The page of a provider at which a customer pays a top-up of his own (src/top-ups/session.ts): what was asked for, and where it is. Validated by 0085.
alter table topup
  add column session jsonb,
  add constraint topup_session check (session is null or (jsonb_typeof(session) = 'object' and origin = 'manual' and source_id is not null)) not valid;
