-- What is forgotten after some time: bodies of events that were applied, events that mean nothing to us, and old alerts. The
-- service's users may do each of these only by a function that runs as the owner and does nothing else.

-- What the event told, once its body is gone (src/inbox/kept-facts.ts), so that it can still be judged and read again.
alter table provider_event add column facts jsonb;
-- SHA-256 of the body that was taken away: whoever has the body can prove that it is the one.
alter table provider_event add column body_hash bytea;
alter table provider_event add column body_removed_at timestamptz;
alter table provider_event add constraint provider_event_body_removed check (
  (body_removed_at is null and body_hash is null and facts is null)
  or (body_removed_at is not null and octet_length(body_hash) = 32 and facts is not null and length(body) = 0)) not valid;

-- Takes bodies away, and puts in their place what they told. `hashes` are those of the bodies that were read: a body that is another one
-- by now stays. Of an event whose body is gone, what it told may be written again. Events that are locked are left out.
create function take_bodies_away(merchant text, ids text[], hashes bytea[], told jsonb[]) returns bigint
language sql security definer set search_path = public, pg_temp as $$
  with named as (
    select id, hash, fact from unnest(ids, hashes, told) as n (id, hash, fact)),
  settled as (
    select e.event_id, n.hash, n.fact from provider_event e join named n on n.id = e.event_id
    where e.merchant_id = merchant and e.state in ('applied', 'dismissed', 'ignored')
      and coalesce(e.body_hash, sha256(e.body)) = n.hash
    for update of e skip locked),
  emptied as (
    update provider_event e
    set body = ''::bytea, body_hash = s.hash, facts = s.fact, body_removed_at = coalesce(e.body_removed_at, now())
    from settled s where e.event_id = s.event_id
    returning 1)
  select count(*) from emptied
$$;

-- Deletes events that were never acted on, the oldest first. If a provider sends such an event again, it is ignored again.
create function forget_ignored_events(merchant text, settled_before timestamptz, most bigint) returns bigint
language sql security definer set search_path = public, pg_temp as $$
  with old as (
    select event_id from provider_event
    where merchant_id = merchant and state = 'ignored' and effect is null and body_removed_at is null
      and settled_at < least(settled_before, now() - interval '1 day')
    order by merchant_id, state, settled_at limit most
    for update skip locked),
  gone as (delete from provider_event e using old where e.event_id = old.event_id returning 1)
  select count(*) from gone
$$;

-- Alerts are history: they may only be forgotten long after they were told. The triggers hold for the owner too.
drop trigger wallet_alert_is_insert_only on wallet_alert;
create trigger wallet_alert_is_insert_only before update or truncate on wallet_alert
  for each statement execute function refuse_change();
create function refuse_young() returns trigger language plpgsql as $$
begin
  if old.created_at < now() - interval '90 days' then
    return old;
  end if;
  raise exception '% is kept for 90 days: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;
create trigger wallet_alert_is_insert_only_while_young before delete on wallet_alert
  for each row execute function refuse_young();

-- Deletes alerts that the merchant was told of, of each wallet the oldest first; the newest one of each wallet stays.
create function forget_old_alerts(merchant text, created_before timestamptz, most bigint) returns bigint
language sql security definer set search_path = public, pg_temp as $$
  with old as (
    select a.customer_id, a.currency, a.alert_seq
    from wallet_alert a join wallet w using (merchant_id, customer_id, currency)
    where a.merchant_id = merchant and a.created_at < least(created_before, now() - interval '90 days')
      and a.alert_seq < w.alert_seq and a.alert_seq <= w.announced_alert_seq
      -- Where clocks differed, an older one may have a later time: then that one goes first.
      and not exists (
        select 1 from wallet_alert b
        where b.merchant_id = a.merchant_id and b.customer_id = a.customer_id and b.currency = a.currency
          and b.alert_seq < a.alert_seq and b.created_at > a.created_at)
    order by a.created_at, a.alert_seq limit most),
  gone as (
    delete from wallet_alert a using old
    where a.merchant_id = merchant and a.customer_id = old.customer_id and a.currency = old.currency and a.alert_seq = old.alert_seq
    returning 1)
  select count(*) from gone
$$;

revoke all on function take_bodies_away(text, text[], bytea[], jsonb[]) from public;
revoke all on function forget_ignored_events(text, timestamptz, bigint) from public;
revoke all on function forget_old_alerts(text, timestamptz, bigint) from public;
