import { statement } from '../db/statement.ts';
import { refillKeyPartsSql } from '../ledger/keys.ts';
import { IN_FLIGHT } from '../top-ups/attempt.ts';
import { type Check, first, WALLET_NAME } from './check.ts';

const IN_FLIGHT_SQL = IN_FLIGHT.map((state) => `'${state}'`).join(', ');

/** SQL for the name of the top-up `t` in a report. */
const TOP_UP_NAME = "format('%s/%s/%s %s', t.merchant_id, t.customer_id, t.currency, t.topup_id)";

/** Rule 11: top-ups. */
export const TOP_UP_CHECKS: readonly Check[] = [
  {
    rule: '11a top-ups: a wallet has one automatic attempt in flight',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('%s attempts in flight', count(*)) as detail
      from topup w
      where w.origin <> 'manual' and w.state in (${IN_FLIGHT_SQL})
      group by w.merchant_id, w.customer_id, w.currency having count(*) > 1`),
    ),
  },
  {
    rule: '11b top-ups: it succeeded if its payment is credited, and only then',
    find: statement(
      first(`select ${TOP_UP_NAME} as subject,
        format('%s, its payment %s at %s is %s with %s entries', t.state, t.payment_id, t.source_id, coalesce(p.state, 'unknown'), coalesce(p.postings, 0)) as detail
      from topup t
      left join payment p on p.merchant_id = t.merchant_id and p.source_id = t.source_id and p.payment_id = t.payment_id
      where (t.state = 'succeeded' and (p.state is distinct from 'succeeded' or p.postings = 0))
        or (t.state in ('declined', 'failed', 'expired') and p.state = 'succeeded' and p.postings > 0)`),
    ),
  },
  {
    rule: '11c top-ups: what was charged in a month is within the cap of its time',
    find: statement(
      first(`select ${TOP_UP_NAME} as subject, format('%s by then, of at most %s', t.charged, t.cap) as detail
      from (
        select merchant_id, customer_id, currency, topup_id, cap, sum(amount) over (
          partition by merchant_id, customer_id, currency, month_since order by created_at, topup_id) as charged
        from topup
        where origin <> 'manual' and not is_late and state in (${IN_FLIGHT_SQL}, 'succeeded')) t
      where t.charged > t.cap`),
    ),
  },
  {
    rule: '11d refills: each top-up is of a period that its schedule has settled',
    find: statement(
      first(`select ${TOP_UP_NAME} as subject,
        format('period %s of %s, made for the %s. time; the schedule is the %s. and has settled %s to %s', t.parts[4], t.parts[2], t.parts[3],
          s.incarnation, s.first_period, s.done) as detail
      from (
        select merchant_id, customer_id, currency, topup_id, ${refillKeyPartsSql('idempotency_key')} as parts
        from topup where origin = 'schedule') t
      left join grant_schedule s on s.merchant_id = t.merchant_id and s.customer_id = t.customer_id and s.currency = t.parts[1]
        and s.schedule_id = t.parts[2]
      where t.parts is null or s.done is null or t.parts[1] <> t.currency or t.parts[3]::numeric > s.incarnation
        or (t.parts[3]::numeric = s.incarnation and (t.parts[4]::numeric >= s.done or t.parts[4]::numeric < s.first_period))`),
    ),
  },
  {
    // What had come to nothing and is paid late after all is not counted: nobody can prevent that.
    rule: '11d refills: a period is paid once, and not given as well',
    find: statement(
      first(`select format('%s/%s %s', t.merchant_id, t.customer_id, t.period) as subject,
        format('%s top-ups and %s grants', t.paid, count(e.seq)) as detail
      from (
        select merchant_id, customer_id, split_part(idempotency_key, '#', 1) as period,
          count(*) filter (where not is_late and state in (${IN_FLIGHT_SQL}, 'succeeded')) as paid
        from topup where origin = 'schedule'
        group by merchant_id, customer_id, split_part(idempotency_key, '#', 1)) t
      left join entry e on e.merchant_id = t.merchant_id and e.customer_id = t.customer_id and e.idempotency_key = t.period
      group by t.merchant_id, t.customer_id, t.period, t.paid
      having t.paid > 1 or count(e.seq) > 0`),
    ),
  },
  {
    rule: '11e top-ups: a wallet knows the threshold of its rule while that is enabled',
    find: statement(
      first(`select ${WALLET_NAME} as subject,
        format('the wallet has %s, its rule %s', coalesce(w.topup_below::text, 'none'), coalesce(r.threshold::text, 'none')) as detail
      from wallet w
      left join topup_rule r
        on r.merchant_id = w.merchant_id and r.customer_id = w.customer_id and r.currency = w.currency and r.enabled
      where w.topup_below is distinct from r.threshold`),
    ),
  },
];
