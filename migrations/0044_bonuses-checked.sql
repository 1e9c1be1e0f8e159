-- What 0043 left unchecked for rows that were there, since that reads them all. It blocks nobody who reads or writes.
alter table payment validate constraint payment_bonus;
alter table payment_part validate constraint payment_part_bonus;
alter table payment_move validate constraint payment_move_bonus;
alter table payment_token validate constraint payment_token_bonus;
