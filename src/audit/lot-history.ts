import { statement } from '../db/statement.ts';
import { first, type HistoryCheck } from './check.ts';
import { firstSince, NEW_ENTRIES, NEW_MOVEMENTS } from './since.ts';

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

/** SQL for the lots `l` that were opened or have ended since then. */
const NEW_LOTS = (since: string) => `(
  select merchant_id, customer_id, currency, lot_no, origin_seq, origin_key from lot where created_at >= ${since}
  union all
  select merchant_id, customer_id, currency, lot_no, origin_seq, origin_key from closed_lot where closed_at >= ${since})`;

/** SQL for the names of lots that were moved, opened or ended since then. */
const TOUCHED_LOTS = (since: string) => `(
  select merchant_id, customer_id, currency, lot_no from ${NEW_LOTS(since)} n
  union
  select merchant_id, customer_id, currency, lot_no from ${NEW_MOVEMENTS(since)} n)`;

/** SQL for the names of lots whose terms were changed since then, and of the others that are new or open. */
const CHANGED_LOTS = (since: string) => `(
  select merchant_id, customer_id, currency, lot_no from ${NEW_LOTS(since)} n
  union
  select merchant_id, customer_id, currency, lot_no from lot where changes > 0
  union
  select merchant_id, customer_id, currency, lot_no from lot_change where created_at >= ${since})`;

const OF_LOT = (alias: string) => `${alias}.merchant_id = n.merchant_id and ${alias}.customer_id = n.customer_id
          and ${alias}.currency = n.currency and ${alias}.lot_no = n.lot_no`;

/** SQL for the movements `m` of the lot `n`, with their entries `e`. */
const MOVEMENTS_OF_LOT = `(select x.* from lot_movement x where ${OF_LOT('x')} offset 0) m
        left join entry e on e.merchant_id = m.merchant_id and e.customer_id = m.customer_id and e.currency = m.currency and e.seq = m.seq`;

/** SQL for what the movements `m` of a lot and their entries `e` come to. */
const SUMS = `sum(m.amount) as remaining,
          (array_agg(m.amount order by m.seq))[1] as amount,
          coalesce(-sum(m.amount) filter (where m.amount < 0 and e.event_type in ${SPENDING}), 0) as spent,
          coalesce(sum(m.amount) filter (where m.amount > 0 and e.event_type = 'checkout_refunded'), 0)
            - case when (array_agg(e.event_type order by m.seq))[1] = 'checkout_refunded' then (array_agg(m.amount order by m.seq))[1] else 0 end as returned,
          coalesce(-sum(m.amount) filter (where e.event_type = 'credit_expired'), 0) as expired,
          coalesce(-sum(m.amount) filter (where e.event_type = 'credit_voided'), 0) as voided`;

/** SQL for whether the lot `l` comes of no entry that could have opened it. */
const HAS_NO_ORIGIN = `not exists (
        select from lot_movement m
        where m.merchant_id = l.merchant_id and m.customer_id = l.customer_id and m.currency = l.currency and m.seq = l.origin_seq
          and m.lot_no <= l.lot_no and m.amount > 0)
        or (l.origin_key is not null and not exists (
          select from entry e
          where e.merchant_id = l.merchant_id and e.customer_id = l.customer_id and e.currency = l.currency and e.seq = l.origin_seq
            and e.idempotency_key = l.origin_key))`;

const LAST_OF_LOT = `left join lateral (
        select e.event_type
        from lot_movement m join entry e using (merchant_id, customer_id, currency, seq)
        where m.merchant_id = l.merchant_id and m.customer_id = l.customer_id and m.currency = l.currency and m.lot_no = l.lot_no
        order by m.seq desc limit 1) m on true`;
const ENDED_OTHERWISE = `l.state is distinct from case
        when m.event_type = 'credit_expired' then 'expired'
        when m.event_type = 'credit_voided' then 'voided'
        when m.event_type in ('merchant_adjustment', 'hold_captured') then 'drained'
        else 'taken_back' end`;
const MOVES_OTHERWISE =
  'e.amount is null or abs(m.moved) > e.amount or (e.is_credit and m.drained) or (not e.is_credit and m.filled)';
const EXPIRED_OTHERWISE =
  "m.lots is distinct from 1 or m.moved <> e.amount or (e.event_type = 'credit_expired' and coalesce(m.ends > e.created_at, true))";

/** Rules 9a to 9f, of all lots that ever were. */
export const LOT_HISTORY: readonly HistoryCheck[] = [
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
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s', merchant_id, customer_id, currency) as subject,
        format('number %s, from %s on lots %s from %s to %s with %s numbers', w.lot_seq, f.begins, x.held, x.lowest, x.highest, x.numbers) as detail
      from (select * from wallet where lot_seq > 0) w
      full join (
        select merchant_id, customer_id, currency, min(lot_no) as lowest from ${NEW_LOTS(since)} n group by 1, 2, 3) n
        using (merchant_id, customer_id, currency)
      -- The one before the first new one is there as well.
      cross join lateral (select greatest(coalesce(n.lowest, w.lot_seq) - 1, 1) as begins) f
      cross join lateral (
        select count(*) as held, min(lot_no) as lowest, max(lot_no) as highest, count(distinct lot_no) as numbers
        from ${LOTS} h
        where h.merchant_id = coalesce(w.merchant_id, n.merchant_id) and h.customer_id = coalesce(w.customer_id, n.customer_id)
          and h.currency = coalesce(w.currency, n.currency) and h.lot_no >= f.begins) x
      where w.lot_seq is null or x.lowest is distinct from f.begins or x.highest is distinct from w.lot_seq
        or x.held <> w.lot_seq - f.begins + 1 or x.numbers <> x.held`,
      ),
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
        select merchant_id, customer_id, currency, m.lot_no, ${SUMS}
        from lot_movement m left join entry e using (merchant_id, customer_id, currency, seq) group by 1, 2, 3, 4) m
        using (merchant_id, customer_id, currency, lot_no)
      where l.remaining is distinct from m.remaining or l.expired is distinct from m.expired or l.voided is distinct from m.voided
        or l.amount is distinct from m.amount or l.spent is null or m.spent is null or l.spent not between m.spent - m.returned and m.spent`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s lot %s', n.merchant_id, n.customer_id, n.currency, n.lot_no) as subject,
        format('%s: of %s are %s left, %s spent, %s expired, %s voided; its movements say %s, %s, %s, %s and %s', l.state, l.amount,
          l.remaining, l.spent, l.expired, l.voided, coalesce(m.amount, 0), coalesce(m.remaining, 0), coalesce(m.spent, 0),
          coalesce(m.expired, 0), coalesce(m.voided, 0)) as detail
      from ${TOUCHED_LOTS(since)} n
      left join lateral (select l.* from ${LOTS} l where ${OF_LOT('l')}) l on true
      left join lateral (select ${SUMS} from ${MOVEMENTS_OF_LOT}) m on true
      where l.remaining is distinct from m.remaining or l.expired is distinct from m.expired or l.voided is distinct from m.voided
        or l.amount is distinct from m.amount or l.spent is null or m.spent is null or l.spent not between m.spent - m.returned and m.spent`,
      ),
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
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s lot %s', n.merchant_id, n.customer_id, n.currency, n.lot_no) as subject,
        format('%s of %s after entry %s', m.left_then, l.amount, m.seq) as detail
      from ${TOUCHED_LOTS(since)} n
      join lateral (select l.* from ${LOTS} l where ${OF_LOT('l')}) l on true
      cross join lateral (select x.seq, sum(x.amount) over (order by x.seq) as left_then from lot_movement x where ${OF_LOT('x')}) m
      where m.left_then not between 0 and l.amount`,
      ),
    ),
  },
  {
    // Of what follows a closed lot, the origin is that lot's.
    rule: '9b lots: each comes of an entry that gave it or one before it',
    find: statement(
      first(`select ${LOT_NAME} as subject, format('it comes of entry %s, which opened no lot up to it', l.origin_seq) as detail
      from ${LOTS} l
      where ${HAS_NO_ORIGIN}`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s lot %s', l.merchant_id, l.customer_id, l.currency, l.lot_no) as subject,
        format('it comes of entry %s, which opened no lot up to it', l.origin_seq) as detail
      from ${NEW_LOTS(since)} l
      where ${HAS_NO_ORIGIN}`,
      ),
    ),
  },
  {
    rule: '9b lots: each ended as its state says',
    find: statement(
      first(`select ${LOT_NAME} as subject, format('%s, and the last of it went by %s', l.state, coalesce(m.event_type, 'nothing')) as detail
      from closed_lot l
      ${LAST_OF_LOT}
      where ${ENDED_OTHERWISE}`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s lot %s', l.merchant_id, l.customer_id, l.currency, l.lot_no) as subject,
        format('%s, and the last of it went by %s', l.state, coalesce(m.event_type, 'nothing')) as detail
      from (select * from closed_lot where closed_at >= ${since}) l
      ${LAST_OF_LOT}
      where ${ENDED_OTHERWISE}`,
      ),
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
      where ${MOVES_OTHERWISE}`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s entry %s', merchant_id, customer_id, currency, seq) as subject,
        format('an entry of %s moves %s in lots', coalesce(case when e.is_credit then e.amount else -e.amount end::text, 'nothing'), m.moved) as detail
      from (
        select merchant_id, customer_id, currency, seq, sum(amount) as moved, bool_or(amount > 0) as filled, bool_or(amount < 0) as drained
        from ${NEW_MOVEMENTS(since)} n group by 1, 2, 3, 4) m
      left join entry e using (merchant_id, customer_id, currency, seq)
      where ${MOVES_OTHERWISE}`,
      ),
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
      where ${EXPIRED_OTHERWISE}`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s entry %s', e.merchant_id, e.customer_id, e.currency, e.seq) as subject,
        format('%s of %s at %s, of %s lots with %s, of which one ends at %s', e.event_type, e.amount, e.created_at, m.lots,
          coalesce(m.moved, 0), coalesce(m.ends::text, 'no time')) as detail
      from (select * from ${NEW_ENTRIES(since)} n where event_type in ('credit_expired', 'credit_voided')) e
      cross join lateral (
        select count(*) as lots, -sum(x.amount) as moved, max(l.expires_at) as ends
        from lot_movement x left join ${LOTS} l using (merchant_id, customer_id, currency, lot_no)
        where x.merchant_id = e.merchant_id and x.customer_id = e.customer_id and x.currency = e.currency and x.seq = e.seq) m
      where ${EXPIRED_OTHERWISE}`,
      ),
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
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s/%s lot %s', n.merchant_id, n.customer_id, n.currency, n.lot_no) as subject,
        format('%s changes, end %s, priority %s; noted %s, %s, %s', l.changes, l.expires_at, l.priority, coalesce(c.changes, 0), c.expires_at, c.priority) as detail
      from ${CHANGED_LOTS(since)} n
      left join lateral (select l.* from ${LOTS} l where ${OF_LOT('l')}) l on true
      left join lateral (
        select x.new_expires_at as expires_at, x.new_priority as priority, count(*) over () as changes
        from lot_change x where ${OF_LOT('x')} order by x.change_no desc limit 1) c on true
      where l.changes is distinct from coalesce(c.changes, 0)
        or (c.changes > 0 and (l.expires_at is distinct from c.expires_at or l.priority is distinct from c.priority))`,
      ),
    ),
  },
];
