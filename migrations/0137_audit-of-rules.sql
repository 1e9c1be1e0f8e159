-- How far the audit has proved each rule whose rows become ever more (src/audit/proved-rules.ts). Written by the audit alone.
create table audit_rule (
  rule text primary key,
  -- When all rows were last read.
  whole_at timestamptz not null,
  -- Up to when what was written was read, and found right.
  proved_at timestamptz not null
);
-- What the last proof of all rows found. It counts until all are proved again.
create table audit_finding (
  rule text not null,
  subject text not null,
  detail text not null,
  found_at timestamptz not null,
  primary key (rule, subject, detail)
);
