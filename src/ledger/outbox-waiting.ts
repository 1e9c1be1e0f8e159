import { bigint, float, nullable } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/**
 * How long until the next wallet is due: 0 if one is now, null if none is going to be. Counts what was put off, and what is
 * leased: whoever has it may be dead.
 */
export async function outboxDueInSeconds(db: Queryable): Promise<number | null> {
  return (await DUE_IN.one(db)).seconds;
}

/** What is due now is so whatever the time is at the nodes of Citus, which is not that of who asks. */
const DUE_IN = statement({
  acrossMerchants: 'the announcer sleeps until any wallet is due',
  params: {},
  row: { seconds: nullable(float) },
  text: () => `
    select (case when count(*) > 0 then greatest(0,
      extract(epoch from min(coalesce(greatest(claimed_until, retry_at), 'epoch'::timestamptz)) - now())) end)::float8 as seconds
    from unannounced_wallet`,
});

/** How many wallets wait to be announced (counted up to 10,000), and how long the first of them has. */
export async function outboxBacklog(
  db: Queryable,
): Promise<{ walletsInOutbox: number; oldestInOutboxSeconds: number }> {
  const { wallets, seconds } = await BACKLOG.one(db);
  return { walletsInOutbox: wallets, oldestInOutboxSeconds: Math.max(seconds, 0) };
}

const BACKLOG = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { wallets: bigint, seconds: float },
  text: () => `
    select
      (select count(*) from (select 1 from unannounced_wallet limit 10000) u) as wallets,
      (select coalesce(extract(epoch from now() - min(since)), 0)::float8 from unannounced_wallet) as seconds`,
});
