-- What 0086 left unchecked for rows that were there, since that reads them all. It blocks nobody who reads or writes.
alter table grant_schedule validate constraint grant_schedule_refill_state;
alter table grant_schedule validate constraint grant_schedule_refill;
alter table grant_schedule validate constraint grant_schedule_refill_open;
alter table grant_schedule validate constraint grant_schedule_charge;
alter table topup validate constraint topup_schedule;
