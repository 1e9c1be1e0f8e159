import { bigint, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/** Events that mean nothing to a wallet. A provider that sends one again after it was deleted is answered as the first time. */

interface Oldest {
  readonly merchantId: string;
  readonly before: Date;
  /** At most so many. */
  readonly limit: number;
}

/** Deletes events that were ignored before a time, the oldest first. @returns how many */
export async function forgetIgnored(db: Queryable, oldest: Oldest): Promise<number> {
  return (await FORGET_IGNORED.one(db, { ...oldest })).count;
}

const OLDEST = { merchantId: text, before: timestamptz, limit: bigint };

const FORGET_IGNORED = statement({
  params: OLDEST,
  row: { count: bigint },
  text: ({ merchantId, before, limit }) => `select forget_ignored_events(${merchantId}, ${before}, ${limit}) as count`,
});

/** How many {@link forgetIgnored} would delete. */
export async function countIgnored(db: Queryable, oldest: Oldest): Promise<number> {
  return (await COUNT_IGNORED.one(db, { ...oldest })).count;
}

const COUNT_IGNORED = statement({
  params: OLDEST,
  row: { count: bigint },
  text: ({ merchantId, before, limit }) => `
    select count(*) from (
      select 1 from provider_event
      where merchant_id = ${merchantId} and state = 'ignored' and effect is null and body_removed_at is null and settled_at < ${before}
      limit ${limit}) e`,
});
