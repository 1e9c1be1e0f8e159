import { bigint, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { type Check, type Disagreement, first, LONG_OVER_MS, MAX_PER_RULE, WALLET_NAME } from './check.ts';
import { IS_PAUSED } from './status-checks.ts';

/** SQL for the name of a lot in a report. */
const LOT_NAME = "format('%s/%s/%s lot %s', merchant_id, customer_id, currency, lot_no)";

/** Rule 9, of lots that are open. */
export const LOT_CHECKS: readonly Check[] = [
  {
    rule: '9a lots: a wallet knows what is left of its open lots',
    find: statement(
      first(`select format('%s/%s/%s', merchant_id, customer_id, currency) as subject,
        format('%s in %s lots, which have %s in %s', w.in_lots, w.open_lots, coalesce(l.remaining, 0), coalesce(l.lots, 0)) as detail
      from wallet w
      full join (
        select merchant_id, customer_id, currency, sum(remaining) as remaining, count(*) as lots from lot group by 1, 2, 3) l
        using (merchant_id, customer_id, currency)
      where w.in_lots is distinct from coalesce(l.remaining, 0) or w.open_lots is distinct from coalesce(l.lots, 0)`),
    ),
  },
  {
    rule: '9d lots: they hold no more than the balance',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('%s in lots, balance %s', w.in_lots, w.balance) as detail
      from wallet w where w.open_lots > 0 and w.in_lots > w.balance`),
    ),
  },
  {
    // A lot that is over and kept by a hold waits for what sets it free, and all of a paused wallet for the end of the pause.
    rule: '9g lots: what ends is on the list',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('a lot ends at %s, the wallet knows of %s, the list of %s', l.ends, w.due_at, d.due_at) as detail
      from (
        select merchant_id, customer_id, currency, l.expires_at as ends from lot l where l.expires_at is not null) l
      join wallet w using (merchant_id, customer_id, currency)
      left join wallet_due d using (merchant_id, customer_id, currency)
      where (w.due_at is null or w.due_at > l.ends or d.due_at is null or d.due_at > l.ends)
        and (l.ends > now() or w.balance > w.held) and not ${IS_PAUSED}`),
    ),
  },
];

/**
 * Rule 9g for lots that nobody ends. What a hold keeps waits for it.
 * @param now by the clock that ends them; nothing is checked where that is not known
 */
export async function checkOverdueLots(db: Queryable, now: Date | null): Promise<readonly Disagreement[]> {
  if (now === null) return [];
  const found = await OVERDUE.all(db, { before: new Date(now.getTime() - LONG_OVER_MS), limit: MAX_PER_RULE });
  return found.map((one) => ({ rule: '9g lots: none is open long after its end', ...one }));
}

const OVERDUE = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: { before: timestamptz, limit: bigint },
  row: { subject: text, detail: text },
  text: (p) => `
    select ${LOT_NAME} as subject, format('ends at %s, and is open', l.expires_at) as detail
    from lot l join wallet w using (merchant_id, customer_id, currency)
    where l.expires_at < ${p.before} and w.balance > w.held and not ${IS_PAUSED}
    limit ${p.limit}`,
});
