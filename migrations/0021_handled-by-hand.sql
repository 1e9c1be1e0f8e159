-- What people dealt with by hand: the movements of dismissed events, which never post.

create table handled_movement (
  merchant_id text not null,
  source_id text not null,
  payment_id text not null check (length(payment_id) between 1 and 200),
  -- The dismissed event that told of it, and which of its facts it is.
  event_id text not null,
  ordinal smallint not null,
  -- What the event said, without whose it is.
  fact jsonb not null,
  decided_at timestamptz,
  opened_at timestamptz,
  -- What the payment was for, if the event is of its success and says so.
  purpose text check (purpose in ('topup', 'order', 'none')),
  credit_amount bigint check (credit_amount between 0 and 9007199254740991),
  -- Whose wallet it was done in, if that is known.
  customer_id text,
  -- How much was credited or debited by hand; 0: nothing was owed. Null: not told.
  amount bigint check (amount between 0 and 9007199254740991),
  entry_id text check (length(entry_id) <= 400),
  note text check (length(note) <= 2000),
  handled_at timestamptz not null,
  -- Somebody replayed the event after all: from then on it counts as told.
  is_reopened boolean not null default false,
  primary key (merchant_id, source_id, payment_id, event_id, ordinal)
);
create index handled_movement_by_event on handled_movement (event_id);

-- Whether the movements of a dismissed event are written down above. Events that the release before dismissed are not, until
-- news of their payment comes.
alter table provider_event add column is_closed boolean not null default false;
