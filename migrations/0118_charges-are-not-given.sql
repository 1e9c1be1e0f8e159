-- A process from before 0086 knows of no schedule that charges, and would give what is to be paid. What it grants and how far the schedule has come
-- are of one transaction, so this undoes both. Whoever knows notes each period that is due, or calls it off as the schedule is changed or ends.
create function refuse_giving_of_charges() returns trigger language plpgsql as $$
begin
  raise exception 'the periods of a schedule that charges are paid, and not given' using errcode = 'check_violation';
end $$;

create trigger grant_schedule_charges before update on grant_schedule for each row
  when (old.charge and new.charge and new.done > old.done and new.refill_period is not distinct from old.refill_period
    and new.updated_at = old.updated_at and new.ended_at is null and not new.paused and not old.paused)
  execute function refuse_giving_of_charges();
