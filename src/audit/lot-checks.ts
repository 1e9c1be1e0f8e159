import { bigint, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { type Check, type Disagreement, first, LONG_OVER_MS, MAX_PER_RULE, WALLET_NAME } from './check.ts';
import { IS_PAUSED } from './status-checks.ts';

/** SQL for all lots, open and closed. */
const LOTS = `(
  select merchant_id, customer_id, currency, lot_no, priority, amount, remaining, spent, expired, voided, origin_seq, origin_key, expires_at, changes,
    'open' as state from lot
  union all
  select merchant_id, customer_id, currency, lot_no, priority, amount, 0, spent, expired, voided, origin_seq, origin_key, expires_at, changes,
    state from closed_lot)`;

/** SQL for the name of a lot in a report. */
const LOT_NAME = "format('%s/%s/%s lot %s', merchant_id, customer_id, currency, lot_no)";
const ENTRY_NAME = "format('%s/%s/%s entry %s', merchant_id, customer_id, currency, seq)";

/** SQL for the types of entries that spend. What else takes from a lot takes back, and what that gives back is undone. */
const SPENDING = "('merchant_adjustment', 'hold_captured')";

/** Rule 9: lots. */
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
    rule: '9a lots: they are numbered',
    find: statement(
      first(`select format('%s/%s/%s', merchant_id, customer_id, currency) as subject,
        format('number %s, lots %s from %s to %s with %s numbers', w.lot_seq, coalesce(l.lots, 0), l.lowest, l.highest, l.numbers) as detail
      from (select * from wallet where lot_seq > 0) w
      full join (
        select merchant_id, customer_id, currency, count(*) as lots, min(lot_no) as lowest, max(lot_no) as highest,
          count(distinct lot_no) as numbers
        from ${LOTS} l group by 1, 2, 3) l using (merchant_id, customer_id, currency)
      where w.lot_seq is distinct from l.lots or l.lowest <> 1 or l.highest <> l.lots or l.numbers <> l.lots`),
    ),
  },
  {
    // What a checkout had spent may go back into the lot, or what was taken back of that.
    rule: '9b lots: their amounts, and what is left of them and became of the rest, are in their movements',
    find: statement(
      first(`select ${LOT_NAME} as subject,
        format('%s: of %s are %s left, %s spent, %s expired, %s voided; its movements say %s, %s, %s, %s and %s', l.state, l.amount,
          l.remaining, l.spent, l.expired, l.voided, coalesce(m.amount, 0), coalesce(m.remaining, 0), coalesce(m.spent, 0),
          coalesce(m.expired, 0), coalesce(m.voided, 0)) as detail
      from ${LOTS} l
      full join (
        select merchant_id, customer_id, currency, m.lot_no, sum(m.amount) as remaining,
          (array_agg(m.amount order by m.seq))[1] as amount,
          coalesce(-sum(m.amount) filter (where m.amount < 0 and e.event_type in ${SPENDING}), 0) as spent,
          coalesce(sum(m.amount) filter (where m.amount > 0 and e.event_type = 'checkout_refunded'), 0)
            - case when (array_agg(e.event_type order by m.seq))[1] = 'checkout_refunded' then (array_agg(m.amount order by m.seq))[1] else 0 end as returned,
          coalesce(-sum(m.amount) filter (where e.event_type = 'credit_expired'), 0) as expired,
          coalesce(-sum(m.amount) filter (where e.event_type = 'credit_voided'), 0) as voided
        from lot_movement m left join entry e using (merchant_id, customer_id, currency, seq) group by 1, 2, 3, 4) m
        using (merchant_id, customer_id, currency, lot_no)
      where l.remaining is distinct from m.remaining or l.expired is distinct from m.expired or l.voided is distinct from m.voided
        or l.amount is distinct from m.amount or l.spent is null or m.spent is null or l.spent not between m.spent - m.returned and m.spent`),
    ),
  },
  {
    rule: '9b lots: none ever had less than nothing, or more than its amount',
    find: statement(
      first(`select ${LOT_NAME} as subject, format('%s of %s after entry %s', m.left_then, l.amount, m.seq) as detail
      from (
        select merchant_id, customer_id, currency, lot_no, seq,
          sum(amount) over (partition by merchant_id, customer_id, currency, lot_no order by seq) as left_then
        from lot_movement) m
      join ${LOTS} l using (merchant_id, customer_id, currency, lot_no)
      where m.left_then not between 0 and l.amount`),
    ),
  },
  {
    // Of what follows a closed lot, the origin is that lot's.
    rule: '9b lots: each comes of an entry that gave it or one before it',
    find: statement(
      first(`select ${LOT_NAME} as subject, format('it comes of entry %s, which opened no lot up to it', l.origin_seq) as detail
      from ${LOTS} l
      where not exists (
        select from lot_movement m
        where m.merchant_id = l.merchant_id and m.customer_id = l.customer_id and m.currency = l.currency and m.seq = l.origin_seq
          and m.lot_no <= l.lot_no and m.amount > 0)
        or (l.origin_key is not null and not exists (
          select from entry e
          where e.merchant_id = l.merchant_id and e.customer_id = l.customer_id and e.currency = l.currency and e.seq = l.origin_seq
            and e.idempotency_key = l.origin_key))`),
    ),
  },
  {
    rule: '9b lots: each ended as its state says',
    find: statement(
      first(`select ${LOT_NAME} as subject, format('%s, and the last of it went by %s', l.state, coalesce(m.event_type, 'nothing')) as detail
      from closed_lot l
      left join lateral (
        select e.event_type
        from lot_movement m join entry e using (merchant_id, customer_id, currency, seq)
        where m.merchant_id = l.merchant_id and m.customer_id = l.customer_id and m.currency = l.currency and m.lot_no = l.lot_no
        order by m.seq desc limit 1) m on true
      where l.state is distinct from case m.event_type
        when 'credit_expired' then 'expired'
        when 'credit_voided' then 'voided'
        when 'merchant_adjustment' then 'drained'
        when 'hold_captured' then 'drained'
        else 'taken_back' end`),
    ),
  },
  {
    rule: '9c lots: an entry moves no more than its amount, in its direction',
    find: statement(
      first(`select ${ENTRY_NAME} as subject,
        format('an entry of %s moves %s in lots', coalesce(case when e.is_credit then e.amount else -e.amount end::text, 'nothing'), m.moved) as detail
      from (
        select merchant_id, customer_id, currency, seq, sum(amount) as moved, bool_or(amount > 0) as filled, bool_or(amount < 0) as drained
        from lot_movement group by 1, 2, 3, 4) m
      left join entry e using (merchant_id, customer_id, currency, seq)
      where e.amount is null or abs(m.moved) > e.amount or (e.is_credit and m.drained) or (not e.is_credit and m.filled)`),
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
    rule: '9e lots: what expired or was voided is one lot, and none expired before its end',
    find: statement(
      first(`select ${ENTRY_NAME} as subject,
        format('%s of %s at %s, of %s lots with %s, of which one ends at %s', e.event_type, e.amount, e.created_at, coalesce(m.lots, 0),
          coalesce(m.moved, 0), coalesce(m.ends::text, 'no time')) as detail
      from (select * from entry where event_type in ('credit_expired', 'credit_voided')) e
      left join (
        select merchant_id, customer_id, currency, m.seq, count(*) as lots, -sum(m.amount) as moved, max(l.expires_at) as ends
        from lot_movement m left join ${LOTS} l using (merchant_id, customer_id, currency, lot_no) group by 1, 2, 3, 4) m
        using (merchant_id, customer_id, currency, seq)
      where m.lots is distinct from 1 or m.moved <> e.amount or (e.event_type = 'credit_expired' and coalesce(m.ends > e.created_at, true))`),
    ),
  },
  {
    rule: '9f lots: their terms are those they were last changed to',
    find: statement(
      first(`select ${LOT_NAME} as subject,
        format('%s changes, end %s, priority %s; noted %s, %s, %s', l.changes, l.expires_at, l.priority, coalesce(c.changes, 0), c.expires_at, c.priority) as detail
      from (select * from ${LOTS} l where changes > 0) l
      full join (
        select distinct on (merchant_id, customer_id, currency, lot_no) merchant_id, customer_id, currency, lot_no, new_expires_at as expires_at,
          new_priority as priority, count(*) over (partition by merchant_id, customer_id, currency, lot_no) as changes
        from lot_change order by merchant_id, customer_id, currency, lot_no, change_no desc) c
        using (merchant_id, customer_id, currency, lot_no)
      where l.changes is distinct from c.changes or l.expires_at is distinct from c.expires_at or l.priority is distinct from c.priority`),
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
