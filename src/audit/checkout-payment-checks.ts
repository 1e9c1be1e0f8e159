import { statement } from '../db/statement.ts';
import { type Check, first, type HistoryCheck, SIGNED } from './check.ts';
import { firstSince, NEW_ENTRIES } from './since.ts';

/** SQL for the payment `p` that has completed the checkout `c`. */
const COMPLETED_BY = `p.merchant_id = c.merchant_id and p.checkout_id = c.checkout_id and p.purpose = 'checkout' and p.agreed_amount is not null`;

/** SQL for what was paid for the purchase itself and went back to the payer; what was paid beyond what was accepted goes back first. */
const ORDER_REFUNDED = `coalesce(least(p.agreed_amount - coalesce(p.credit_amount, 0), greatest(0,
  c.payment_refunded - greatest(0, case when p.state = 'succeeded' then coalesce(p.amount_paid, 0) else 0 end - p.agreed_amount))), 0)`;

/** SQL for the types of entries by which a purchase goes back to its wallet. */
const GIVEN_BACK = "'checkout_refunded', 'checkout_refund_reversal'";

/** Rule 10c, of all checkouts that ever were. */
export const CHECKOUT_HISTORY: readonly HistoryCheck[] = [
  {
    rule: '10c checkouts: what went back to the wallet is what its entries say',
    find: statement(
      first(`select format('%s/%s/%s', merchant_id, customer_id, coalesce(c.checkout_id, e.checkout_id)) as subject,
        format('%s went back, and its entries come to %s', coalesce(c.wallet_returned, 0), coalesce(e.returned, 0)) as detail
      from checkout c
      full join (
        select e.merchant_id, e.customer_id, e.reference_object_id as checkout_id, sum(${SIGNED}) as returned
        from entry e where e.event_type in (${GIVEN_BACK}) group by 1, 2, 3) e
        using (merchant_id, customer_id, checkout_id)
      where coalesce(c.wallet_returned, 0) <> coalesce(e.returned, 0)`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s', n.merchant_id, n.customer_id, n.checkout_id) as subject,
        format('%s went back, and its entries come to %s', coalesce(c.wallet_returned, 0), coalesce(e.returned, 0)) as detail
      from (
        select merchant_id, customer_id, reference_object_id as checkout_id from ${NEW_ENTRIES(since)} x where event_type in (${GIVEN_BACK})
        union
        select merchant_id, customer_id, checkout_id from checkout where greatest(created_at, completed_at) >= ${since}) n
      left join checkout c on c.merchant_id = n.merchant_id and c.customer_id = n.customer_id and c.checkout_id = n.checkout_id
      left join lateral (
        select sum(${SIGNED}) as returned
        from wallet w join entry e on e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency
        where w.merchant_id = n.merchant_id and w.customer_id = n.customer_id and e.event_type in (${GIVEN_BACK})
          and e.event_type <> 'merchant_adjustment' and e.reference_object_id = n.checkout_id) e on true
      where coalesce(c.wallet_returned, 0) <> coalesce(e.returned, 0)`,
      ),
    ),
  },
];

/** Rules 10d and 10e: what checkouts say of their payments, and of what went back. */
export const CHECKOUT_PAYMENT_CHECKS: readonly Check[] = [
  {
    rule: '10d checkouts: no more goes back than a purchase had cost, or it is said so',
    find: statement(
      first(`select format('%s/%s/%s', c.merchant_id, c.customer_id, c.checkout_id) as subject,
        format('%s went back to the wallet and %s of its order to the payer, of %s in all, over_refunded %s',
          c.wallet_returned, ${ORDER_REFUNDED}, c.total, c.over_refunded) as detail
      from checkout c left join payment p on ${COMPLETED_BY}
      where (c.wallet_returned + ${ORDER_REFUNDED} > c.total) <> c.over_refunded`),
    ),
  },
  {
    rule: '10e checkouts: each is completed by one payment, which knows it',
    find: statement(
      first(`select format('%s/%s/%s', c.merchant_id, c.customer_id, c.checkout_id) as subject,
        format('%s, paid by %s of %s, and %s payments say so', c.state, c.payment_id, c.source_id, count(p.payment_id)) as detail
      from checkout c left join payment p on ${COMPLETED_BY}
      group by c.merchant_id, c.customer_id, c.checkout_id
      having count(p.payment_id) <> case when c.state in ('completed', 'short') and c.payment_part > 0 then 1 else 0 end
        or bool_or(p.payment_id is distinct from c.payment_id or p.source_id is distinct from c.source_id
          or p.customer_id is distinct from c.customer_id or p.currency is distinct from c.currency) filter (where p.payment_id is not null)`),
    ),
  },
];
