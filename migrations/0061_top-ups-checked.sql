-- What 0060 left unchecked for rows that were there, since that reads them all. It blocks nobody who reads or writes.
alter table wallet validate constraint wallet_topup_below;
alter table source_secret validate constraint source_secret_purpose_check;
