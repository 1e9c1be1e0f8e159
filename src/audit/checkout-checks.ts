import { bigint, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { type Check, type Disagreement, first, LONG_OVER_MS, MAX_PER_RULE } from './check.ts';

/** SQL for the name of the checkout `c` in a report. */
const CHECKOUT_NAME = "format('%s/%s %s', c.merchant_id, c.customer_id, c.checkout_id)";

/** SQL for the hold of the checkout `c`, open or closed. */
const ITS_HOLD = `
      left join lateral (
        select kind, amount, captured, expires_at, 'open' as state, null::timestamptz as closed_at from hold x
        where x.merchant_id = c.merchant_id and x.customer_id = c.customer_id and x.currency = c.currency and x.hold_no = c.hold_no
        union all
        select kind, amount, captured, expires_at, state, closed_at from closed_hold x
        where x.merchant_id = c.merchant_id and x.customer_id = c.customer_id and x.currency = c.currency and x.hold_no = c.hold_no) h on true`;

/** SQL for when the checkout `c` ends, unless it is paid before. */
const ITS_END = 'coalesce(c.prolonged_until, c.expires_at)';

/** Rule 10: checkouts. */
export const CHECKOUT_CHECKS: readonly Check[] = [
  {
    // Any command on the wallet ends the hold in time, and the job that ends the checkout comes after.
    rule: '10a checkouts: one that is open holds its part of the wallet, and no other does',
    find: statement(
      first(`select ${CHECKOUT_NAME} as subject,
        format('%s of %s, its hold %s of %s is %s', c.state, c.wallet_part, c.hold_no, coalesce(h.amount::text, 'nothing'), coalesce(h.state, 'not there')) as detail
      from checkout c ${ITS_HOLD}
      where c.wallet_part > 0 and (h.kind is distinct from 'checkout' or h.amount <> c.wallet_part
        or case when c.state = 'open' then h.captured <> 0 or h.expires_at <> ${ITS_END}
            or not (h.state = 'open' or (h.state = 'expired' and h.closed_at >= ${ITS_END}))
          else h.state = 'open' end)`),
    ),
  },
  {
    rule: '10a checkouts: a hold of a checkout is of one that is open',
    find: statement(
      first(`select format('%s/%s/%s hold %s', h.merchant_id, h.customer_id, h.currency, h.hold_no) as subject,
        format('it is of %s', coalesce(c.checkout_id, 'no checkout')) as detail
      from hold h
      left join checkout c on c.merchant_id = h.merchant_id and c.customer_id = h.customer_id and c.currency = h.currency
        and c.hold_no = h.hold_no
      where h.kind = 'checkout' and c.state is distinct from 'open'`),
    ),
  },
  {
    rule: '10a checkouts: those that are open are on the list of those that end',
    find: statement(
      first(`select coalesce(${CHECKOUT_NAME}, d.checkout_id) as subject,
        format('%s, ends at %s, the list says %s', coalesce(c.state, 'not there'), ${ITS_END}, coalesce(d.due_at::text, 'nothing')) as detail
      from (select * from checkout where state = 'open') c
      full join checkout_due d using (merchant_id, customer_id, checkout_id)
      where c.state is null or d.due_at is null or d.due_at < ${ITS_END}`),
    ),
  },
  {
    rule: '10b checkouts: what was captured is entries, and what was not is uncollected',
    find: statement(
      first(`select ${CHECKOUT_NAME} as subject,
        format('%s: captured %s and uncollected %s of %s, its entries took %s', c.state, c.captured, c.uncollected, c.wallet_part,
          coalesce(t.taken, 0)) as detail
      from checkout c
      left join lateral (
        select sum(x.from_hold + x.beyond) as taken from hold_capture x
        where x.merchant_id = c.merchant_id and x.customer_id = c.customer_id and x.currency = c.currency and x.hold_no = c.hold_no) t on true
      where c.captured <> coalesce(t.taken, 0) or (c.state in ('completed', 'short') and c.captured + c.uncollected <> c.wallet_part)`),
    ),
  },
];

/** Checkouts that are open long after their end; of those whose wallet is locked, the next run of the job is to end them. */
export async function checkOverdueCheckouts(db: Queryable, now: Date | null): Promise<readonly Disagreement[]> {
  if (now === null) return [];
  const found = await OVERDUE.all(db, { before: new Date(now.getTime() - LONG_OVER_MS), limit: MAX_PER_RULE });
  return found.map((one) => ({ rule: '10a checkouts: none is open long after its end', ...one }));
}

const OVERDUE = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: { before: timestamptz, limit: bigint },
  row: { subject: text, detail: text },
  text: (p) => `
    select ${CHECKOUT_NAME} as subject, format('ends at %s, and is open', ${ITS_END}) as detail
    from checkout_due d join checkout c using (merchant_id, customer_id, checkout_id)
    where c.state = 'open' and ${ITS_END} < ${p.before} limit ${p.limit}`,
});
