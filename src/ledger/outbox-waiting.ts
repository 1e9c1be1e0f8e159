import { bigint, float } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { dueInSeconds } from '../db/work-list.ts';

/** How long until the next wallet is due: 0 if one is now, null if none is going to be. */
export const outboxDueInSeconds = dueInSeconds('unannounced_wallet', {
  name: 'wallets-due-in',
  why: 'the announcer sleeps until any wallet is due',
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
