-- What 0084 left unchecked for rows that were there, since that reads them all. It blocks nobody who reads or writes.
alter table topup validate constraint topup_session;
