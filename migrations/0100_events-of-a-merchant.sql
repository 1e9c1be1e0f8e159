-- The key of an event begins with its merchant from here on (src/commands/widen-keys.ts), so whoever looks for one names both. And LEAST instead of
-- COALESCE: a node of Citus takes no function of the time within the latter.

create or replace function forget_ignored_events(merchant text, settled_before timestamptz, most bigint)
 returns bigint
language sql security definer set search_path = public, pg_temp as $function$
  with old as (
    select event_id from provider_event
    where merchant_id = merchant and state = 'ignored' and effect is null and body_removed_at is null
      and settled_at < least(settled_before, now() - interval '1 day')
    order by merchant_id, state, settled_at limit most
    for update skip locked),
  gone as (delete from provider_event e using old where e.merchant_id = merchant and e.event_id = old.event_id returning 1)
  select count(*) from gone
$function$;

create or replace function take_bodies_away(merchant text, ids text[], hashes bytea[], told jsonb[])
 returns bigint
language sql security definer set search_path = public, pg_temp as $function$
  with named as (
    select id, hash, fact from unnest(ids, hashes, told) as n (id, hash, fact)),
  settled as (
    select e.event_id, n.hash, n.fact from provider_event e join named n on n.id = e.event_id
    where e.merchant_id = merchant and e.state in ('applied', 'dismissed', 'ignored')
      and coalesce(e.body_hash, sha256(e.body)) = n.hash
      and (e.body_removed_at is null or n.fact = e.facts
        or n.fact = e.facts
          || jsonb_build_object('facts', coalesce(
            (select jsonb_agg(case when f.one #> '{customer,id}' is null then f.one else jsonb_set(f.one, '{customer,id}', 'null') end order by f.at)
             from jsonb_array_elements(e.facts -> 'facts') with ordinality as f (one, at)), '[]'))
          || jsonb_build_object('naming', case when e.facts #> '{naming,customer,id}' is null then e.facts -> 'naming'
            else jsonb_set(e.facts -> 'naming', '{customer,id}', 'null') end))
    for update of e skip locked),
  emptied as (
    update provider_event e
    set body = ''::bytea, body_hash = s.hash, facts = s.fact, body_removed_at = least(e.body_removed_at, now())
    from settled s where e.merchant_id = merchant and e.event_id = s.event_id
    returning 1)
  select count(*) from emptied
$function$;
