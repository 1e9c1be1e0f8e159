-- How far the audit has proved each wallet (src/audit/marks.ts), so that it need not read the same entries every night. Written by the audit alone.
create table audit_mark (
  merchant_id text not null,
  customer_id text not null,
  currency text not null,
  -- The last entry that was proved, what it left, and its hash.
  seq bigint not null check (seq >= 0),
  balance bigint not null,
  head bytea check (octet_length(head) = 32),
  -- When the wallet was last read from its first entry on, and when any of it.
  whole_at timestamptz not null,
  proved_at timestamptz not null,
  primary key (merchant_id, customer_id, currency)
);
