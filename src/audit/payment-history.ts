import { statement } from '../db/statement.ts';
import { isRequestKeySql, type KeySql, paymentKeySql } from '../ledger/keys.ts';
import { first, type HistoryCheck, SIGNED } from './check.ts';
import { firstSince, NEW_ENTRIES } from './since.ts';

/** The types of entries that only payments post. */
const BY_PAYMENTS =
  "'payment', 'payment_reversal', 'refund', 'refund_reversal', 'dispute', 'dispute_reversal', 'bonus', 'bonus_reversal'";

/** SQL for whether the entry `e` was posted by a payment. What went back of a checkout by the merchant's own request was not. */
const IS_BY_PAYMENT = `(e.event_type in (${BY_PAYMENTS})
  or (e.event_type in ('checkout_refunded', 'checkout_refund_reversal') and not ${isRequestKeySql('e.idempotency_key')}))`;

/** SQL for the key of the `n`th entry of the payment `p`. */
const NTH_KEY = {
  sourceId: 'coalesce(p.key_source, p.source_id)',
  kind: 'p.kind',
  paymentId: 'p.payment_id',
  partId: 'p.part_id',
  number: 'n',
} as const satisfies KeySql;

/** SQL for whose wallets may hold a payment's entries: its customer's, and those of its former customers. */
const OWNS = `e.customer_id in (
  select p.customer_id
  union all
  select m.from_customer_id from payment_move m
  where m.merchant_id = p.merchant_id and m.source_id = p.source_id and m.payment_id = p.payment_id)`;

export const moveKeyOf = (kind: string) =>
  paymentKeySql(2, {
    sourceId: 'coalesce(p.key_source, m.source_id)',
    kind: `'${kind}'`,
    paymentId: 'm.payment_id',
    partId: 'null::text',
    number: 'm.move',
  });

/** SQL for the keys by which entries of a payment may be found, of whichever version. */
const KEYS = `case when p.key_version = 1 then ${paymentKeySql(1, NTH_KEY)} else ${paymentKeySql(2, NTH_KEY)} end`;

/** Checks moves by the number of entries: entries from before a move stay where they are, and each move makes two. */
const ENTRIES_OF_MOVES = `(
  select m.merchant_id, w.customer_id, w.postings
  from payment_move m
  join payment p using (merchant_id, source_id, payment_id)
  cross join lateral (values
    (p.customer_id, -m.entries),
    (m.from_customer_id, m.entries + (m.net <> 0)::integer + (m.bonus > 0)::integer),
    (m.to_customer_id, (m.net <> 0)::integer + (m.bonus > 0)::integer)) as w (customer_id, postings))`;

/**
 * While a new release takes over, a process of the former one may post for a payment that the new one stored, with keys of
 * version 1. So if entries with keys of version 2 are missing, they are looked for with these.
 */
const ALSO_BY_THE_RELEASE_BEFORE = `(
  select coalesce(sum(${SIGNED}), 0) as found, count(*) as entries
  from generate_series(1, p.postings) as n
  cross join lateral (
    select e.* from entry e
    where e.merchant_id = p.merchant_id and ${OWNS}
      and e.idempotency_key in (${paymentKeySql(1, NTH_KEY)}, ${paymentKeySql(2, NTH_KEY)})
    order by e.idempotency_key = ${paymentKeySql(2, NTH_KEY)} desc
    limit 1) e)`;

/** SQL, behind `select`, for payments that have not the entries they say they have. @param payments SQL for those to look at */
const WITHOUT_ENTRIES = (payments: string) => `format('%s/%s/%s', p.merchant_id, p.source_id, p.payment_id) as subject,
        format('%s: posted %s in %s entries, found %s in %s', concat_ws('_', p.kind, p.payment_id, p.part_id), p.posted, p.postings, p.found, p.entries) as detail
      from (
        select p.*, coalesce(sum(${SIGNED}), 0) as found, count(e.seq) as entries
        from (
          select merchant_id, source_id, payment_id, key_version, key_source, customer_id, 'payment' as kind, null as part_id, posted_credit + posted_return as posted, postings from ${payments} q
          union all
          select t.merchant_id, t.source_id, t.payment_id, q.key_version, q.key_source, q.customer_id, t.kind, t.part_id, t.posted_credit - t.posted_take, t.postings
          from payment_part t join ${payments} q using (merchant_id, source_id, payment_id)
          union all
          select merchant_id, source_id, payment_id, 2, key_source, customer_id, 'bonus', null, posted_bonus, bonus_postings from ${payments} q where bonus_postings > 0
          union all
          select t.merchant_id, t.source_id, t.payment_id, 2, q.key_source, q.customer_id, 'bonus_' || t.kind, t.part_id, -t.posted_bonus_take, t.bonus_postings
          from payment_part t join ${payments} q using (merchant_id, source_id, payment_id) where t.bonus_postings > 0) p
        left join lateral generate_series(1, p.postings) as n on true
        left join entry e on e.merchant_id = p.merchant_id and ${OWNS}
          and e.idempotency_key = ${KEYS}
        group by p.merchant_id, p.source_id, p.payment_id, p.key_version, p.key_source, p.customer_id, p.kind, p.part_id, p.posted, p.postings
        having coalesce(sum(${SIGNED}), 0) <> p.posted or count(e.seq) <> p.postings) p
      left join lateral ${ALSO_BY_THE_RELEASE_BEFORE} a on p.key_version = 2
      where a.found is distinct from p.posted or a.entries is distinct from p.postings`;

/** SQL for the payments of which anything changed since then. */
const CHANGED = (since: string) => `(select * from payment where updated_at >= ${since})`;

/** A payment is dated by the process, its entries maybe by another one's clock. */
const BEFORE = (since: string) => `(${since} - interval '1 day')`;

/** SQL for all keys of entries that payments, which have changed since then, know of, with whom they may be. */
const KNOWN = (since: string) => `(
  select p.merchant_id, o.customer_id, k.idempotency_key
  from (
    select merchant_id, source_id, payment_id, key_source, customer_id, 'payment' as kind, null as part_id, postings from ${CHANGED(BEFORE(since))} q
    union all
    select t.merchant_id, t.source_id, t.payment_id, q.key_source, q.customer_id, t.kind, t.part_id, t.postings
    from payment_part t join ${CHANGED(BEFORE(since))} q using (merchant_id, source_id, payment_id)
    union all
    select merchant_id, source_id, payment_id, key_source, customer_id, 'bonus', null, bonus_postings from ${CHANGED(BEFORE(since))} q
    union all
    select t.merchant_id, t.source_id, t.payment_id, q.key_source, q.customer_id, 'bonus_' || t.kind, t.part_id, t.bonus_postings
    from payment_part t join ${CHANGED(BEFORE(since))} q using (merchant_id, source_id, payment_id)) p
  cross join lateral generate_series(1, p.postings) as n
  cross join lateral (values (${paymentKeySql(1, NTH_KEY)}), (${paymentKeySql(2, NTH_KEY)})) as k (idempotency_key)
  cross join lateral (
    select p.customer_id
    union all
    select m.from_customer_id from payment_move m
    where m.merchant_id = p.merchant_id and m.source_id = p.source_id and m.payment_id = p.payment_id) o
  union all
  select m.merchant_id, o.customer_id, k.idempotency_key
  from payment_move m join ${CHANGED(BEFORE(since))} p using (merchant_id, source_id, payment_id)
  cross join lateral (values (${moveKeyOf('moved')}), (${moveKeyOf('moved_bonus')})) as k (idempotency_key)
  cross join lateral (values (m.from_customer_id), (m.to_customer_id)) as o (customer_id))`;

/** Rules 5 and 5e, of all payments that ever were. */
export const PAYMENT_HISTORY: readonly HistoryCheck[] = [
  {
    rule: '5 once: a payment has the entries it says it has',
    isOfEach: true,
    find: statement(first(`select ${WITHOUT_ENTRIES('payment')}`)),
    findSince: statement(firstSince((since) => `select ${WITHOUT_ENTRIES(CHANGED(since))}`)),
  },
  {
    rule: '5 once: no entry claims a payment that does not know it',
    find: statement(
      first(`select format('%s/%s', merchant_id, customer_id) as subject, format('%s entries by payments, which know of %s', coalesce(found, 0), coalesce(known, 0)) as detail
      from (select merchant_id, customer_id, count(*) as found from entry e where ${IS_BY_PAYMENT} group by 1, 2) e
      full join (
        select merchant_id, customer_id, sum(postings) as known
        from (select merchant_id, customer_id, postings + bonus_postings as postings from payment
          union all ${ENTRIES_OF_MOVES}
          union all select merchant_id, customer_id, t.postings + t.bonus_postings from payment_part t join payment using (merchant_id, source_id, payment_id)) p
        where customer_id is not null group by 1, 2) p using (merchant_id, customer_id)
      where coalesce(found, 0) <> coalesce(known, 0)`),
    ),
    findSince: statement(
      firstSince(
        (
          since,
        ) => `select format('%s/%s', merchant_id, customer_id) as subject, format('entry %s of %s is by a payment, and none knows of it', e.seq, e.currency) as detail
      from (select * from ${NEW_ENTRIES(since)} e where ${IS_BY_PAYMENT}) e
      left join (select distinct merchant_id, customer_id, idempotency_key from ${KNOWN(since)} k) k using (merchant_id, customer_id, idempotency_key)
      where k.merchant_id is null`,
      ),
    ),
  },
  {
    rule: '5e bonus: it is its payment that promotes, and takes back no more than it gave',
    find: statement(
      first(`select format('%s/%s/%s', p.merchant_id, p.source_id, p.payment_id) as subject,
        format('a bonus of %s, of which %s are taken and %s were lost', p.posted_bonus, coalesce(t.taken, 0), p.bonus_lost) as detail
      from payment p
      left join (
        select merchant_id, source_id, payment_id, sum(posted_bonus_take) as taken from payment_part group by 1, 2, 3) t
        using (merchant_id, source_id, payment_id)
      where coalesce(t.taken, 0) > p.posted_bonus or (p.posted_bonus > 0 and (p.purpose is distinct from 'topup' or not p.bonus_split))`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s', p.merchant_id, p.source_id, p.payment_id) as subject,
        format('a bonus of %s, of which %s are taken and %s were lost', p.posted_bonus, coalesce(t.taken, 0), p.bonus_lost) as detail
      from ${CHANGED(since)} p
      left join lateral (
        select sum(x.posted_bonus_take) as taken from payment_part x
        where x.merchant_id = p.merchant_id and x.source_id = p.source_id and x.payment_id = p.payment_id) t on true
      where coalesce(t.taken, 0) > p.posted_bonus or (p.posted_bonus > 0 and (p.purpose is distinct from 'topup' or not p.bonus_split))`,
      ),
    ),
  },
];
