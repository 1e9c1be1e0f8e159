import { statement } from '../db/statement.ts';
import { eventsWithJobs } from '../inbox/event-jobs.ts';
import { type Check, first, SIGNED } from './check.ts';
import { moveKeyOf } from './payment-history.ts';

/** SQL for whether the entry `e` of the customer is the one that `h` names: its id ends with its currency and number. */
const ENTRY_OF_HANDLED = `e.currency = substring(h.entry_id from '_([A-Z]{3})_[1-9][0-9]{0,15}$')
  and e.seq = substring(h.entry_id from '_([1-9][0-9]{0,15})$')::bigint
  and h.entry_id = concat('ent_', e.customer_id, '_', e.currency, '_', e.seq)`;

/** Events that wait longer are reported. The inbox needs far less: it makes lost jobs again after 2 minutes, and a refund waits 15. */
const LEFT_ALONE = "interval '6 hours'";

/** Events that wait for long, and have no job that is younger. As sets, since Postgres may know nothing of how many there are. */
const WITHOUT_JOB = `array(
        select e.event_id from provider_event e
        where e.state in ('pending', 'waiting') and coalesce(e.waiting_since, e.received_at) < now() - ${LEFT_ALONE}
        except
        ${eventsWithJobs(`greatest(j.created_on, j.start_after) > now() - ${LEFT_ALONE}`)})`;

/** SQL for whether the body of the event `e`, or what is kept of it, holds an id. */
const NAMES = (id: string) =>
  `(position(convert_to(${id}, 'UTF8') in e.body) > 0 or position(trim(both '"' from to_json(${id})::text) in e.facts::text) > 0)`;

/**
 * SQL for whether the event `e` is of an invoice whose subscription carries a token of the customer of the link `l`. It holds the token
 * instead of our customer's id.
 */
const BY_TOKEN_OF_SUBSCRIPTION = `exists (
  select 1 from payment_group g
  cross join lateral (
    select t.customer_id from payment_token t where t.merchant_id = g.merchant_id and t.token_hash = g.token_hash offset 0) t
  where g.merchant_id = e.merchant_id and g.source_id = e.source_id and t.customer_id = l.customer_id
    and g.group_id in (e.payment_id, (
      select p.group_id from payment p
      where p.merchant_id = e.merchant_id and p.source_id = e.source_id and p.payment_id = e.payment_id))
  offset 0)`;

/**
 * Links that neither the payment they follow from, nor an event of a payment of that customer, nor the making of the customer
 * explains. The payments look up their links, and not the reverse, since no index leads from a customer to his payments.
 */
const UNEXPLAINED_LINKS = `
  with without_payment as materialized (
    select l.merchant_id, l.source_id, l.provider_customer_id, l.customer_id
    from customer_link l
    join customer c on c.merchant_id = l.merchant_id and c.customer_id = l.customer_id
    where l.cause <> 'operator'
      and not exists (
        select 1 from payment p
        where p.merchant_id = l.merchant_id and p.source_id = l.source_id and p.payment_id = l.payment_id
          and (p.customer_id = l.customer_id or exists (
            select 1 from payment_move m
            where m.merchant_id = p.merchant_id and m.source_id = p.source_id and m.payment_id = p.payment_id
              and m.from_customer_id = l.customer_id
            offset 0))
        offset 0)
      and (l.cause not in ('created', 'before')
        or c.created_at not between l.created_at - interval '5 minutes' and l.created_at + interval '5 minutes'))
  select * from without_payment
  except
  select l.* from payment p
  cross join lateral (
    select l.merchant_id, l.source_id, l.provider_customer_id, l.customer_id from customer_link l
    where l.merchant_id = p.merchant_id and l.customer_id = p.customer_id and l.source_id = p.source_id
    offset 0) l
  where exists (select 1 from without_payment)
    and exists (
      select 1 from provider_event e
      where e.merchant_id = p.merchant_id and e.source_id = p.source_id and e.payment_id = p.payment_id
        and ${NAMES('l.provider_customer_id')}
      offset 0)`;

/** What else rule 5 says of payments, of the events that made them, and of links. */
export const PAYMENT_CHECKS: readonly Check[] = [
  {
    rule: '5d moved: what one customer gave back another got, and whose a payment is follows from it',
    isOfEach: true,
    find: statement(
      first(`select format('%s/%s/%s', m.merchant_id, m.source_id, m.payment_id) as subject,
        format('move %s of %s and a bonus of %s from %s to %s, whose entries are %s and %s, %s and %s of the bonus; the payment is of %s after %s moves',
          m.move, m.net, m.bonus, m.from_customer_id, m.to_customer_id, g.taken, g.given, g.bonus_taken, g.bonus_given, p.customer_id, p.moves) as detail
      from payment_move m
      join payment p using (merchant_id, source_id, payment_id)
      cross join lateral (
        select coalesce(sum(${SIGNED}) filter (where e.customer_id = m.from_customer_id and not k.is_bonus), 0) as taken,
          coalesce(sum(${SIGNED}) filter (where e.customer_id = m.to_customer_id and not k.is_bonus), 0) as given,
          coalesce(sum(${SIGNED}) filter (where e.customer_id = m.from_customer_id and k.is_bonus), 0) as bonus_taken,
          coalesce(sum(${SIGNED}) filter (where e.customer_id = m.to_customer_id and k.is_bonus), 0) as bonus_given
        from (values (${moveKeyOf('moved')}, false), (${moveKeyOf('moved_bonus')}, true)) as k (idempotency_key, is_bonus)
        join entry e on e.idempotency_key = k.idempotency_key
        where e.merchant_id = m.merchant_id and e.customer_id in (m.from_customer_id, m.to_customer_id)
          and e.currency = m.currency) g
      where g.taken <> -m.net or g.given <> m.net or g.bonus_taken <> -m.bonus or g.bonus_given <> m.bonus or p.moves < m.move
        or (p.moves = m.move and p.customer_id is distinct from m.to_customer_id)`),
    ),
  },
  {
    // What was reopened counts as told again, whatever became of its event since.
    rule: '5d by hand: what was handled by hand has its dismissed event, and the entry that it names',
    isOfEach: true,
    find: statement(
      first(`select format('%s/%s/%s', h.merchant_id, h.source_id, h.payment_id) as subject,
        case when x.is_dismissed then format('%s of %s by hand, and the entry %s says otherwise', h.amount, h.customer_id, h.entry_id)
          else format('handled by hand, and its event %s was not dismissed', h.event_id) end as detail
      from handled_movement h
      cross join lateral (select exists (
        select 1 from provider_event e
        where e.merchant_id = h.merchant_id and e.event_id = h.event_id and e.state = 'dismissed'
        offset 0) as is_dismissed) x
      where not h.is_reopened and (not x.is_dismissed or (h.entry_id is not null and not exists (
        select 1 from entry e
        where e.merchant_id = h.merchant_id and e.customer_id = h.customer_id and ${ENTRY_OF_HANDLED}
          and (h.ordinal > 0 or e.amount = h.amount)
        offset 0)))`),
    ),
  },
  {
    rule: '5c settled again: no event is left pending or waiting',
    find: statement(
      first(`select format('%s/%s/%s', e.merchant_id, e.source_id, e.event_id) as subject,
        format('%s since %s', e.state, coalesce(e.waiting_since, e.received_at)) as detail
      from provider_event e
      where e.state in ('pending', 'waiting') and e.event_id = any (${WITHOUT_JOB})`),
    ),
  },
  {
    // A link names the payment that caused it; a link by an operator has none. A link of the former release names nothing. It is
    // accepted if an event of the source holds the provider's id and is of a payment of that customer, if an event holds both ids
    // (or was replayed with our customer), or if the customer was made together with the link.
    rule: '5c settled again: a link has a cause',
    isOfEach: true,
    find: statement(
      first(`select format('%s/%s/%s', l.merchant_id, l.source_id, l.provider_customer_id) as subject,
        format('linked with %s, and no event tells why', l.customer_id) as detail
      from (${UNEXPLAINED_LINKS}) l
      where not exists (
          select 1 from provider_event e
          where e.merchant_id = l.merchant_id and e.source_id = l.source_id
            and ${NAMES('l.provider_customer_id')}
            and (e.assigned_customer_id = l.customer_id or ${NAMES('l.customer_id')} or ${BY_TOKEN_OF_SUBSCRIPTION})
          offset 0)`),
    ),
  },
];
