import { statement } from '../db/statement.ts';
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
        where origin = 'threshold' and not is_late and state in (${IN_FLIGHT_SQL}, 'succeeded')) t
      where t.charged > t.cap`),
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
