-- What 0041 left unchecked for rows that were there, since that reads them all. It blocks nobody who reads or writes.
alter table wallet validate constraint wallet_held;
alter table wallet validate constraint wallet_lots;
alter table entry validate constraint entry_event_type_check;
alter table entry validate constraint entry_direction;
alter table entry validate constraint entry_overdraft;
alter table wallet_alert validate constraint wallet_alert_kind_check;
alter table wallet_alert validate constraint wallet_alert_details;
