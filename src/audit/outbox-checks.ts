import { bigint, boolean, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { OF_BALANCE } from '../ledger/entry.ts';
import type { LowBalanceRule } from '../ledger/low-balance/rule.ts';
import { type Check, type Disagreement, first, type HistoryCheck, MAX_PER_RULE, WALLET_NAME } from './check.ts';
import { firstSince } from './since.ts';

/** What is older must have been told. The announcer tells within 30 s, and tries again every 15 minutes what was refused. */
const BEHIND = "interval '1 hour'";

const MESSAGES = `(
  select merchant_id, customer_id, currency, last_seq, created_at from webhook_message where customer_id is not null
  union all select merchant_id, customer_id, currency, last_seq, sent_at from svix_message where customer_id is not null)`;

/** SQL, behind `select`, for wallets of which something was told since then that is not there. */
const BEYOND_NEWEST = (
  since: string,
) => `${WALLET_NAME} as subject, format('a message or an alert tells of entry %s, the newest is %s', told.seq, w.version) as detail
      from (
        select merchant_id, customer_id, currency, max(seq) as seq
        from (select merchant_id, customer_id, currency, last_seq as seq from ${MESSAGES} m where created_at >= ${since}
          union all select merchant_id, customer_id, currency, version from wallet_alert where created_at >= ${since}) t
        group by 1, 2, 3) told
      join wallet w using (merchant_id, customer_id, currency)
      where told.seq > w.version`;

/** Rule 7, of all that was ever told. */
export const OUTBOX_HISTORY: readonly HistoryCheck[] = [
  {
    rule: '7 announced: alerts are numbered',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('alert number %s, alerts %s from %s to %s', w.alert_seq, coalesce(a.alerts, 0), a.first, a.last) as detail
      from wallet w
      left join (select merchant_id, customer_id, currency, count(*) as alerts, min(alert_seq) as first, max(alert_seq) as last
        from wallet_alert group by 1, 2, 3) a using (merchant_id, customer_id, currency)
      -- The oldest ones may have been forgotten, if they are older than anybody may forget them.
      where w.alert_seq <> coalesce(a.last, 0) or coalesce(a.alerts, 0) <> coalesce(a.last - a.first + 1, 0)
        or (a.first > 1 and w.created_at > now() - interval '90 days')`),
    ),
    findSince: statement(
      firstSince(
        (
          since,
        ) => `select ${WALLET_NAME} as subject, format('alert number %s, and alert %s is not there', w.alert_seq, a.wanted) as detail
      from (
        select merchant_id, customer_id, currency, alert_seq, alert_seq - 1 as wanted from wallet_alert where created_at >= ${since}
        union all
        select merchant_id, customer_id, currency, alert_seq, alert_seq from wallet where alert_seq > 0) a
      join wallet w using (merchant_id, customer_id, currency)
      where a.alert_seq > w.alert_seq or (a.wanted > 0
        and not exists (
          select from wallet_alert x
          where x.merchant_id = w.merchant_id and x.customer_id = w.customer_id and x.currency = w.currency and x.alert_seq = a.wanted)
        -- The oldest ones may have been forgotten, the newest never is.
        and (a.wanted = w.alert_seq or w.created_at > now() - interval '90 days' or exists (
          select from wallet_alert x
          where x.merchant_id = w.merchant_id and x.customer_id = w.customer_id and x.currency = w.currency and x.alert_seq < a.wanted)))`,
      ),
    ),
  },
  {
    rule: '7 announced: nothing was told that is not there',
    find: statement(first(`select ${BEYOND_NEWEST("'-infinity'")}`)),
    findSince: statement(firstSince((since) => `select ${BEYOND_NEWEST(since)}`)),
  },
];

/** Rule 7: what merchants were told, and what they are yet to be told. */
export const OUTBOX_CHECKS: readonly Check[] = [
  {
    rule: '7 announced: what is not told is on the list',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('announced %s of %s entries and %s of %s alerts, and not on the list', w.announced_version, w.version, w.announced_alert_seq, w.alert_seq) as detail
      from wallet w
      left join unannounced_wallet u using (merchant_id, customer_id, currency)
      where (w.announced_version < w.version or w.announced_alert_seq < w.alert_seq) and u.merchant_id is null`),
    ),
  },
  {
    rule: '7c told in time: the outbox is not behind',
    find: statement(
      first(`select ${WALLET_NAME} as subject,
        format('waits to be told since %s, tried %s times, again at %s%s', u.since, u.attempts, greatest(u.retry_at, u.claimed_until), ': ' || u.last_error) as detail
      from unannounced_wallet u join wallet w using (merchant_id, customer_id, currency)
      where (u.since < now() - ${BEHIND} or u.retry_at > now() + ${BEHIND} or u.claimed_until > now() + ${BEHIND})
        and (w.announced_version < w.version or w.announced_alert_seq < w.alert_seq)`),
    ),
  },
  {
    rule: '7c told in time: no claim goes beyond what there is',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('claimed up to entry %s and alert %s of %s and %s', u.claimed_version, u.claimed_alert_seq, w.version, w.alert_seq) as detail
      from unannounced_wallet u join wallet w using (merchant_id, customer_id, currency)
      where u.claimed_version > w.version or u.claimed_alert_seq > w.alert_seq`),
    ),
  },
  {
    // Only if an endpoint surely wanted the message: it is older than the entry and was not changed since.
    rule: '7c told in time: what counts as told has its message',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('told up to entry %s, and no message was made of it', w.announced_version) as detail
      from wallet w
      join entry n on n.merchant_id = w.merchant_id and n.customer_id = w.customer_id and n.currency = w.currency and n.seq = w.announced_version
      where n.created_at > now() - interval '25 days'
        and exists (
          select 1 from webhook_endpoint p
          where p.merchant_id = w.merchant_id and not p.disabled and p.moved_at is null
            and greatest(p.created_at, p.updated_at) < n.created_at - interval '1 minute'
            and (p.event_types is null or 'wallet.balance.changed' = any (p.event_types)))
        and not exists (
          select 1 from webhook_message m
          where m.merchant_id = w.merchant_id and m.customer_id = w.customer_id and m.currency = w.currency and m.last_seq >= n.seq)
        and not exists (
          select 1 from svix_message m
          where m.merchant_id = w.merchant_id and m.customer_id = w.customer_id and m.currency = w.currency and m.last_seq >= n.seq)
        -- The former release did not store which entries a message tells of.
        and not exists (
          select 1 from webhook_message m
          where m.merchant_id = w.merchant_id and m.customer_id is null and m.event_type = 'wallet.balance.changed' and not m.is_example
            and m.created_at >= n.created_at)`),
    ),
  },
];

/**
 * Rule 7c for alerts.
 * @param rule has the thresholds of wallets that have none of their own. If it is null, such wallets are checked only by what
 *   they spent.
 */
export async function checkArmedAlerts(
  db: Queryable,
  rule: Pick<LowBalanceRule, 'defaultThresholds'> | null,
): Promise<readonly Disagreement[]> {
  const thresholds = [...(rule?.defaultThresholds ?? [])].map(([currency, threshold]) => ({ currency, threshold }));
  const found = await DISARMED.all(db, { thresholds, isKnown: rule !== null, limit: MAX_PER_RULE });
  return found.map((one) => ({ rule: '7c told in time: alerts are not disarmed', ...one }));
}

const DISARMED = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: { thresholds: rowsOf({ currency: text, threshold: bigint }), isKnown: boolean, limit: bigint },
  row: { subject: text, detail: text },
  text: ({ thresholds, isKnown, limit }) => `
    select ${WALLET_NAME} as subject, 'it was spent from, holds its threshold or was told of, and no alert can be raised' as detail
    from wallet w left join ${thresholds('d')} on d.currency = w.currency
    where not w.alerts_armed and (exists (
        select 1 from wallet_alert a
        where a.merchant_id = w.merchant_id and a.customer_id = w.customer_id and a.currency = w.currency and a.kind in (${OF_BALANCE}))
      or ((${isKnown} or w.low_threshold is not null) and w.balance >= greatest(coalesce(w.low_threshold, d.threshold, 1), 1))
      or exists (
        select 1 from entry e
        where e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency and not e.is_credit))
    limit ${limit}`,
});
