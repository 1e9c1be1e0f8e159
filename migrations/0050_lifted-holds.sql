-- A hold of a dispute that an operator lifted, since its last news never came (src/inbox/lift-hold.ts): which round of the dispute holds
-- nothing any more, who did it, and when. Why stands on the hold.
alter table payment_part
  add column lifted jsonb,
  add constraint payment_part_lifted check (lifted is null or kind = 'dispute') not valid;
