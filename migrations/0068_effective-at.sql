-- A date of account of an entry, which may be before it was written. Everything that is computed goes by created_at.
alter table entry add column effective_at timestamptz;
