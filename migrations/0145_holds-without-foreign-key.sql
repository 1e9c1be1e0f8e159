-- A hold is written by whoever has locked its wallet and changes it with the same statement, and every audit compares both sides (rule 8a). To look
-- the wallet up once more for each hold took 7 % of a batch of them (docs/decisions/0057-foreign-keys-of-the-hot-tables.md).
alter table hold drop constraint if exists hold_merchant_id_customer_id_currency_fkey;
