import { statement } from '../db/statement.ts';
import { type Check, first, WALLET_NAME } from './check.ts';

/** SQL for whether the credit of the wallet `w` does not come to its end now. */
export const IS_PAUSED = `(w.status = 'frozen' and coalesce((
  select c.pause_expiry from wallet_status_change c
  where c.merchant_id = w.merchant_id and c.customer_id = w.customer_id and c.currency = w.currency
  order by c.change_no desc limit 1), false))`;

/** Rule 13: the status of wallets. */
export const STATUS_CHECKS: readonly Check[] = [
  {
    rule: '13a status: a closed wallet is empty',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('closed, with %s, %s open holds and %s open lots', w.balance, h.holds, l.lots) as detail
      from wallet w
      cross join lateral (
        select count(*) as holds from hold x
        where x.merchant_id = w.merchant_id and x.customer_id = w.customer_id and x.currency = w.currency) h
      cross join lateral (
        select count(*) as lots from lot x
        where x.merchant_id = w.merchant_id and x.customer_id = w.customer_id and x.currency = w.currency) l
      where w.status = 'closed' and (w.balance <> 0 or h.holds > 0 or l.lots > 0)`),
    ),
  },
  {
    rule: '13b status: it is that of the last change, and each change goes on from the one before',
    find: statement(
      first(`select format('%s/%s/%s', merchant_id, customer_id, currency) as subject,
        format('%s, by its %s changes, up to number %s, %s; %s of them do not follow', w.status, c.changes, c.highest, c.status, c.loose) as detail
      from (
        select merchant_id, customer_id, currency, count(*) as changes, max(change_no) as highest,
          (array_agg(new_status order by change_no desc))[1] as status,
          count(*) filter (where old_status <> before or (new_status = old_status and pause_expiry = was_paused) or created_at < was_at) as loose
        from (
          select *, lag(new_status, 1, 'active') over own as before, lag(pause_expiry, 1, false) over own as was_paused,
            lag(created_at, 1, '-infinity') over own as was_at
          from wallet_status_change
          window own as (partition by merchant_id, customer_id, currency order by change_no)) x
        group by 1, 2, 3) c
      full join (select * from wallet where status <> 'active') w using (merchant_id, customer_id, currency)
      where coalesce(w.status, 'active') <> coalesce(c.status, 'active') or c.changes <> c.highest or c.loose > 0`),
    ),
  },
];
