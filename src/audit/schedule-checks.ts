import { bigint, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { grantKeyPartsSql, isScheduledKeySql, scheduledKeySql } from '../ledger/keys.ts';
import { nextDueAt } from '../schedules/grant-schedule.ts';
import { GRANT_SCHEDULE } from '../schedules/tables.ts';
import { type Disagreement, first, type HistoryCheck, LONG_OVER_MS, MAX_PER_RULE } from './check.ts';
import { firstSince, NEW_ENTRIES } from './since.ts';

/** SQL for the name of a scheduled entry `s` in a report. */
const SCHEDULED_NAME = "format('%s/%s scheduled entry %s', s.merchant_id, s.customer_id, s.scheduled_entry_id)";

const POSTED_OTHERWISE = `s.entry_seq is distinct from e.seq or s.currency is distinct from e.currency or s.amount is distinct from e.amount
        or s.is_credit is distinct from e.is_credit`;

/** SQL, behind `select`, for grants of no period that a schedule has settled. @param entries SQL for those to look at */
const GRANTED_OTHERWISE = (
  entries: string,
) => `format('%s/%s/%s entry %s', e.merchant_id, e.customer_id, e.currency, e.seq) as subject,
        format('period %s of %s, made for the %s. time; the schedule is the %s. and has settled %s to %s', e.parts[4], e.parts[2], e.parts[3],
          s.incarnation, s.first_period, s.done) as detail
      from (
        select merchant_id, customer_id, currency, seq, is_credit, ${grantKeyPartsSql('idempotency_key')} as parts
        from ${entries} n where starts_with(idempotency_key, 'grant_')) e
      left join grant_schedule s on s.merchant_id = e.merchant_id and s.customer_id = e.customer_id and s.currency = e.parts[1]
        and s.schedule_id = e.parts[2]
      where e.parts is null or s.done is null or e.parts[1] <> e.currency or not e.is_credit or e.parts[3]::numeric > s.incarnation
        or (e.parts[3]::numeric = s.incarnation and (e.parts[4]::numeric >= s.done or e.parts[4]::numeric < s.first_period))`;

/** Rules 11d and 14: what was to be written at a time to come. */
export const SCHEDULE_HISTORY: readonly HistoryCheck[] = [
  {
    rule: '14a scheduled: what is posted has its entry, and the reverse',
    find: statement(
      first(`select format('%s/%s %s', merchant_id, customer_id, idempotency_key) as subject,
        format('scheduled %s %s as entry %s, written %s %s as entry %s', s.currency, case when s.is_credit then s.amount else -s.amount end,
          s.entry_seq, e.currency, case when e.is_credit then e.amount else -e.amount end, e.seq) as detail
      from (
        select merchant_id, customer_id, ${scheduledKeySql('scheduled_entry_id')} as idempotency_key, currency, amount, is_credit, entry_seq
        from scheduled_entry where state = 'posted') s
      full join (select * from entry where ${isScheduledKeySql('idempotency_key')}) e using (merchant_id, customer_id, idempotency_key)
      where ${POSTED_OTHERWISE}`),
    ),
    findSince: statement(
      firstSince(
        (since) => `select format('%s/%s %s', merchant_id, customer_id, idempotency_key) as subject,
        format('scheduled %s %s as entry %s, written %s %s as entry %s', s.currency, case when s.is_credit then s.amount else -s.amount end,
          s.entry_seq, e.currency, case when e.is_credit then e.amount else -e.amount end, e.seq) as detail
      from (
        select merchant_id, customer_id, ${scheduledKeySql('scheduled_entry_id')} as idempotency_key from scheduled_entry
        where state = 'posted' and ended_at >= ${since}
        union
        select merchant_id, customer_id, idempotency_key from ${NEW_ENTRIES(since)} n where ${isScheduledKeySql('idempotency_key')}) k
      left join (
        select merchant_id, customer_id, ${scheduledKeySql('scheduled_entry_id')} as idempotency_key, currency, amount, is_credit, entry_seq
        from scheduled_entry where state = 'posted') s using (merchant_id, customer_id, idempotency_key)
      left join entry e using (merchant_id, customer_id, idempotency_key)
      where ${POSTED_OTHERWISE}`,
      ),
    ),
  },
  {
    // The key is one entry's alone, since keys are.
    rule: '11d grants: each is of a period that its schedule has settled',
    find: statement(first(`select ${GRANTED_OTHERWISE('entry')}`)),
    findSince: statement(firstSince((since) => `select ${GRANTED_OTHERWISE(NEW_ENTRIES(since))}`)),
  },
];

/**
 * Rule 14b. What is tried again for want of money has its next time.
 * @param now by the clock that posts them; nothing is checked where that is not known
 */
export async function checkOverdueSchedules(db: Queryable, now: Date | null): Promise<readonly Disagreement[]> {
  if (now === null) return [];
  const before = new Date(now.getTime() - LONG_OVER_MS);
  const found = await OVERDUE.all(db, { before, limit: MAX_PER_RULE });
  const putOff = await PUT_OFF.all(db, {
    before,
    until: new Date(now.getTime() + LONG_OVER_MS),
    limit: MOST_LOOKED_AT,
  });
  const late = putOff.flatMap((schedule) => {
    const { merchantId, customerId, currency, scheduleId } = schedule;
    const dueAt = nextDueAt(schedule);
    const subject = `${merchantId}/${customerId}/${currency} schedule ${scheduleId}`;
    return dueAt !== null && dueAt < before
      ? [{ subject, detail: `was due at ${dueAt.toISOString()}, and is put off` }]
      : [];
  });
  const all = [...found, ...late].slice(0, MAX_PER_RULE);
  return all.map((one) => ({ rule: '14b scheduled: none waits long after its time', ...one }));
}

/** Grant schedules that may have been put off. */
const MOST_LOOKED_AT = 10_000;

/** What could not be granted is put off by an hour at most, so that it is looked at soon. */
const PUT_OFF = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: { before: timestamptz, until: timestamptz, limit: bigint },
  row: GRANT_SCHEDULE.shape,
  text: (p) => `
    select ${columns(GRANT_SCHEDULE.shape)} from grant_schedule
    where next_at >= ${p.before} and next_at <= ${p.until}
    order by next_at
    limit ${p.limit}`,
});

const OVERDUE = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: { before: timestamptz, limit: bigint },
  row: { subject: text, detail: text },
  text: (p) => `
    select ${SCHEDULED_NAME} as subject, format('was due at %s, and is tried next at %s', s.post_at, s.due_at) as detail
    from scheduled_entry s
    where s.due_at is not null and (s.due_at < ${p.before} or (s.tries = 0 and s.post_at < ${p.before}))
    union all
    select format('%s/%s/%s schedule %s', s.merchant_id, s.customer_id, s.currency, s.schedule_id), format('was due at %s', s.next_at)
    from grant_schedule s
    where s.next_at < ${p.before}
    limit ${p.limit}`,
});
