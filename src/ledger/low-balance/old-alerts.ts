import { bigint, text, timestamptz } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';

/** Alerts that merchants were told of long ago. The newest of each wallet stays, since the next one depends on it. */

interface Oldest {
  readonly merchantId: string;
  readonly before: Date;
  /** At most so many. */
  readonly limit: number;
}

/** Deletes alerts raised before a time, the oldest first. @returns how many */
export async function forgetAlerts(db: Queryable, oldest: Oldest): Promise<number> {
  return (await FORGET_ALERTS.one(db, { ...oldest })).count;
}

const OLDEST = { merchantId: text, before: timestamptz, limit: bigint };

const FORGET_ALERTS = statement({
  params: OLDEST,
  row: { count: bigint },
  text: ({ merchantId, before, limit }) => `select forget_old_alerts(${merchantId}, ${before}, ${limit}) as count`,
});

/** How many {@link forgetAlerts} would delete. */
export async function countAlerts(db: Queryable, oldest: Oldest): Promise<number> {
  return (await COUNT_ALERTS.one(db, { ...oldest })).count;
}

const COUNT_ALERTS = statement({
  params: OLDEST,
  row: { count: bigint },
  text: ({ merchantId, before, limit }) => `
    select count(*) from (
      select 1 from wallet_alert a
      cross join lateral (
        select w.alert_seq, w.announced_alert_seq from wallet w
        where w.merchant_id = a.merchant_id and w.customer_id = a.customer_id and w.currency = a.currency offset 0) w
      where a.merchant_id = ${merchantId} and a.created_at < ${before} and a.alert_seq < w.alert_seq
        and a.alert_seq <= w.announced_alert_seq
      limit ${limit}) a`,
});
