import { bigint, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { paymentKeySql } from '../ledger/keys.ts';
import {
  type Check,
  type Disagreement,
  first,
  type HistoryCheck,
  LONG_OVER_MS,
  MAX_PER_RULE,
  WALLET_NAME,
} from './check.ts';
import { firstSince, NEW_CAPTURES, NEW_ENTRIES } from './since.ts';

/** SQL for all holds, open and closed. */
const HOLDS = `(
  select merchant_id, customer_id, currency, hold_no, kind, idempotency_key, amount, captured, 'open' as state, 0 as released, expires_at, null as closed_at from hold
  union all
  select merchant_id, customer_id, currency, hold_no, kind, idempotency_key, amount, captured, state, released, expires_at, closed_at from closed_hold)`;

/** SQL for the key of the newest hold of the dispute `t`. */
const DISPUTE_KEY = paymentKeySql(2, {
  sourceId: 't.key_source',
  kind: "'hold_dispute'",
  paymentId: 't.payment_id',
  partId: 't.part_id',
  number: 't.holds',
});

/** SQL for the name of the hold `h` in a report. */
const HOLD_NAME = "format('%s/%s/%s hold %s', merchant_id, customer_id, currency, hold_no)";

/** SQL for the holds that were placed or have ended since then. */
const NEW_HOLDS = (since: string) => `(
  select merchant_id, customer_id, currency, hold_no from hold where created_at >= ${since}
  union all
  select merchant_id, customer_id, currency, hold_no from closed_hold where closed_at >= ${since})`;

/** SQL for the names of holds of which something may have changed since then: those that are open, have ended or were captured. */
const TOUCHED_HOLDS = (since: string) => `(
  select merchant_id, customer_id, currency, hold_no from hold
  union
  select merchant_id, customer_id, currency, hold_no from closed_hold where closed_at >= ${since}
  union
  select merchant_id, customer_id, currency, hold_no from ${NEW_CAPTURES(since)} n)`;

const OF_HOLD = (alias: string) => `${alias}.merchant_id = n.merchant_id and ${alias}.customer_id = n.customer_id
          and ${alias}.currency = n.currency and ${alias}.hold_no = n.hold_no`;

/** Rules 8b and 8c, of all holds that ever were. */
export const HOLD_HISTORY: readonly HistoryCheck[] = [
  {
    rule: '8b holds: they are numbered, and each has a key of its own',
    find: statement(
      first(`select format('%s/%s/%s', merchant_id, customer_id, currency) as subject,
        format('number %s, holds %s from %s to %s with %s numbers and %s keys', w.hold_seq, coalesce(h.holds, 0), h.lowest, h.highest,
          h.numbers, h.keys) as detail
      from (select * from wallet where hold_seq > 0) w
      full join (
        select merchant_id, customer_id, currency, count(*) as holds, min(hold_no) as lowest, max(hold_no) as highest,
          count(distinct hold_no) as numbers, count(distinct idempotency_key) as keys
        from ${HOLDS} h group by 1, 2, 3) h using (merchant_id, customer_id, currency)
      where w.hold_seq is distinct from h.holds or h.lowest <> 1 or h.highest <> h.holds or h.numbers <> h.holds or h.keys <> h.holds`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s', merchant_id, customer_id, currency) as subject,
        format('number %s, from %s on holds %s from %s to %s with %s numbers', w.hold_seq, f.begins, x.held, x.lowest, x.highest, x.numbers) as detail
      from (select * from wallet where hold_seq > 0) w
      full join (
        select merchant_id, customer_id, currency, min(hold_no) as lowest from ${NEW_HOLDS(since)} n group by 1, 2, 3) n
        using (merchant_id, customer_id, currency)
      -- The one before the first new one is there as well.
      cross join lateral (select greatest(coalesce(n.lowest, w.hold_seq) - 1, 1) as begins) f
      cross join lateral (
        select count(*) as held, min(hold_no) as lowest, max(hold_no) as highest, count(distinct hold_no) as numbers, count(distinct idempotency_key) as keys
        from ${HOLDS} h
        where h.merchant_id = coalesce(w.merchant_id, n.merchant_id) and h.customer_id = coalesce(w.customer_id, n.customer_id)
          and h.currency = coalesce(w.currency, n.currency) and h.hold_no >= f.begins) x
      where w.hold_seq is null or x.lowest is distinct from f.begins or x.highest is distinct from w.hold_seq
        or x.held <> w.hold_seq - f.begins + 1 or x.numbers <> x.held or x.keys <> x.held`,
      ),
    ),
  },
  {
    rule: '8c holds: what was captured of them is in their captures',
    find: statement(
      first(`select ${HOLD_NAME} as subject,
        format('%s: captured %s and released %s of %s, its captures took %s and %s beyond it, %s of them late', h.state, h.captured,
          h.released, h.amount, coalesce(c.taken, 0), coalesce(c.beyond, 0), coalesce(c.late, 0)) as detail
      from ${HOLDS} h
      full join (
        select merchant_id, customer_id, currency, hold_no, sum(from_hold) as taken, sum(beyond) as beyond,
          count(*) filter (where from_hold = 0) as late
        from hold_capture group by 1, 2, 3, 4) c using (merchant_id, customer_id, currency, hold_no)
      where h.captured is distinct from coalesce(c.taken, 0) or (h.state <> 'open' and h.amount <> h.captured + h.released)
        or (h.state = 'open' and c.beyond > 0) or c.late > case when h.state = 'open' then 0 when h.kind = 'checkout' then 2 when h.state = 'expired' then 1 else 0 end`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s hold %s', n.merchant_id, n.customer_id, n.currency, n.hold_no) as subject,
        format('%s: captured %s and released %s of %s, its captures took %s and %s beyond it, %s of them late', h.state, h.captured,
          h.released, h.amount, coalesce(c.taken, 0), coalesce(c.beyond, 0), coalesce(c.late, 0)) as detail
      from ${TOUCHED_HOLDS(since)} n
      left join lateral (select h.* from ${HOLDS} h where ${OF_HOLD('h')}) h on true
      left join lateral (
        select sum(from_hold) as taken, sum(beyond) as beyond, count(*) filter (where from_hold = 0) as late
        from hold_capture x where ${OF_HOLD('x')}) c on true
      where h.captured is distinct from coalesce(c.taken, 0) or (h.state <> 'open' and h.amount <> h.captured + h.released)
        or (h.state = 'open' and c.beyond > 0) or c.late > case when h.state = 'open' then 0 when h.kind = 'checkout' then 2 when h.state = 'expired' then 1 else 0 end`,
      ),
    ),
  },
  {
    // An expired hold may be debited late, so one that is only called so would be paid twice.
    rule: '8c holds: each ended as its state says',
    find: statement(
      first(`select ${HOLD_NAME} as subject,
        format('%s at %s: captured %s of %s, ends at %s, its captures took %s beyond it', h.state, h.closed_at, h.captured, h.amount,
          h.expires_at, coalesce(c.beyond, 0)) as detail
      from ${HOLDS} h
      left join (
        select merchant_id, customer_id, currency, hold_no, sum(beyond) filter (where from_hold > 0) as beyond
        from hold_capture group by 1, 2, 3, 4) c using (merchant_id, customer_id, currency, hold_no)
      where case
        when h.state = 'captured' then h.captured = 0
        when h.state = 'expired' then h.expires_at is null or h.expires_at > h.closed_at or h.captured = h.amount or c.beyond > 0
        else c.beyond > 0 end`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s hold %s', n.merchant_id, n.customer_id, n.currency, n.hold_no) as subject,
        format('%s at %s: captured %s of %s, ends at %s, its captures took %s beyond it', h.state, h.closed_at, h.captured, h.amount,
          h.expires_at, coalesce(c.beyond, 0)) as detail
      from ${TOUCHED_HOLDS(since)} n
      join lateral (select h.* from ${HOLDS} h where ${OF_HOLD('h')}) h on true
      left join lateral (select sum(beyond) filter (where from_hold > 0) as beyond from hold_capture x where ${OF_HOLD('x')}) c on true
      where case
        when h.state = 'captured' then h.captured = 0
        when h.state = 'expired' then h.expires_at is null or h.expires_at > h.closed_at or h.captured = h.amount or c.beyond > 0
        else c.beyond > 0 end`,
      ),
    ),
  },
  {
    rule: '8c holds: a capture is an entry, and the reverse',
    find: statement(
      first(`select format('%s/%s/%s entry %s', merchant_id, customer_id, currency, seq) as subject,
        format('an entry of %s, a capture of %s', coalesce(e.amount::text, 'nothing'), coalesce((c.from_hold + c.beyond)::text, 'nothing')) as detail
      from (select merchant_id, customer_id, currency, seq, amount from entry where event_type = 'hold_captured') e
      full join hold_capture c using (merchant_id, customer_id, currency, seq)
      where e.amount is distinct from c.from_hold + c.beyond`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s entry %s', merchant_id, customer_id, currency, seq) as subject,
        format('an entry of %s, a capture of %s', coalesce(e.amount::text, 'nothing'), coalesce((c.from_hold + c.beyond)::text, 'nothing')) as detail
      from (select merchant_id, customer_id, currency, seq, amount from ${NEW_ENTRIES(since)} e where event_type = 'hold_captured') e
      full join ${NEW_CAPTURES(since)} c using (merchant_id, customer_id, currency, seq)
      where e.amount is distinct from c.from_hold + c.beyond`,
      ),
    ),
  },
];

/** Rule 8, of holds that are open. */
export const HOLD_CHECKS: readonly Check[] = [
  {
    rule: '8a holds: a wallet holds what is left of its open holds',
    find: statement(
      first(`select format('%s/%s/%s', merchant_id, customer_id, currency) as subject,
        format('held %s in %s holds, which have %s in %s', w.held, w.open_holds, coalesce(h.held, 0), coalesce(h.holds, 0)) as detail
      from wallet w
      full join (
        select merchant_id, customer_id, currency, sum(amount - captured) as held, count(*) as holds from hold group by 1, 2, 3) h
        using (merchant_id, customer_id, currency)
      where w.held is distinct from coalesce(h.held, 0) or w.open_holds is distinct from coalesce(h.holds, 0)`),
    ),
  },
  {
    rule: '8d holds: what ends is on the list',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('a hold ends at %s, the wallet knows of %s, the list of %s', h.ends, w.due_at, d.due_at) as detail
      from (
        select merchant_id, customer_id, currency, min(expires_at) as ends from hold where expires_at is not null group by 1, 2, 3) h
      join wallet w using (merchant_id, customer_id, currency)
      left join wallet_due d using (merchant_id, customer_id, currency)
      where w.due_at is null or w.due_at > h.ends or d.due_at is null or d.due_at > h.ends`),
    ),
  },
  {
    rule: '8e holds: a hold of a dispute is of a top-up whose dispute says so, and the reverse',
    find: statement(
      first(`select format('%s/%s/%s hold %s', merchant_id, customer_id, currency, hold_no) as subject,
        format('%s of %s, the dispute %s of payment %s/%s wants %s', coalesce(h.kind, 'no hold'), h.amount, t.part_id, t.source_id,
          t.payment_id, t.hold_wanted) as detail
      from (select * from hold where kind = 'dispute') h
      full join (
        select p.merchant_id, p.customer_id, p.currency, t.hold_no, t.hold_wanted, t.source_id, t.payment_id, t.part_id, t.holds, t.kind as part_kind,
          p.purpose, p.disputes, coalesce(p.key_source, p.source_id) as key_source
        from (select * from payment_part where hold_no is not null offset 0) t
        cross join lateral (
          select p.* from payment p
          where p.merchant_id = t.merchant_id and p.source_id = t.source_id and p.payment_id = t.payment_id offset 0) p) t using (merchant_id, customer_id, currency, hold_no)
      where h.amount is null or t.hold_wanted is null or h.amount > t.hold_wanted or h.captured <> 0 or h.expires_at is not null
        or t.purpose <> 'topup' or t.disputes <> 'hold' or t.part_kind <> 'dispute' or h.idempotency_key <> ${DISPUTE_KEY}`),
    ),
  },
];

/**
 * Rule 8d for holds that nobody ends.
 * @param now by the clock that ends them; nothing is checked where that is not known
 */
export async function checkOverdueHolds(db: Queryable, now: Date | null): Promise<readonly Disagreement[]> {
  if (now === null) return [];
  const found = await OVERDUE.all(db, { before: new Date(now.getTime() - LONG_OVER_MS), limit: MAX_PER_RULE });
  return found.map((one) => ({ rule: '8d holds: none is open long after its end', ...one }));
}

const OVERDUE = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: { before: timestamptz, limit: bigint },
  row: { subject: text, detail: text },
  text: (p) => `
    select ${HOLD_NAME} as subject, format('ends at %s, and is open', h.expires_at) as detail
    from hold h where h.expires_at < ${p.before} limit ${p.limit}`,
});
