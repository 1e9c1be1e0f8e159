-- The chain of hashes (src/ledger/README.md). Old entries have none; processes of the release before write none, and leave
-- wallet.head behind, so that the next posting of this release begins the chain anew.
alter table wallet
  add column head bytea,
  -- The entry that head is the hash of.
  add column head_version bigint not null default 0,
  add constraint wallet_head check (octet_length(head) = 32 and head_version >= 0) not valid;
alter table entry
  add column hash bytea,
  add constraint entry_hash check (octet_length(hash) = 32) not valid;

-- When the last process of a release that knows of no chain had ended; entries without a hash are older than that.
alter table installation add column release_closed_at timestamptz;
update installation set release_closed_at = now() where not exists (select 1 from entry);
