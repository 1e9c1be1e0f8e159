-- A source may adopt the payments of another one, which then have its id but keep the keys of their entries.

-- The source whose id their keys were made with; null: the payment's own source, as it is for all that stand.
alter table payment add column key_source text;

-- Which sources were adopted, and by which one: their events are handled as its own from then on.
create table source_adoption (
  merchant_id text not null references merchant,
  source_id text not null,
  into_source_id text not null check (into_source_id <> source_id),
  adopted_at timestamptz not null,
  primary key (merchant_id, source_id)
);

-- What belongs to a payment goes where the payment goes. Every row was checked when it was written, so none is checked again:
-- that would hold up every payment meanwhile.
alter table payment_part
  drop constraint payment_part_merchant_id_source_id_payment_id_fkey,
  add constraint payment_part_of_payment foreign key (merchant_id, source_id, payment_id) references payment
    on update cascade on delete cascade not valid;
alter table payment_movement
  drop constraint payment_movement_merchant_id_source_id_payment_id_fkey,
  add constraint payment_movement_of_payment foreign key (merchant_id, source_id, payment_id) references payment
    on update cascade on delete cascade not valid;
alter table payment_move
  drop constraint payment_move_merchant_id_source_id_payment_id_fkey,
  add constraint payment_move_of_payment foreign key (merchant_id, source_id, payment_id) references payment
    on update cascade on delete cascade not valid;
