import { timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/**
 * Makes events pending again that were ignored since a time, when processes of the release before still ran beside this one: what
 * they ignored this release may read. What it ignores too is ignored again. The worker finds them by itself, as it finds events
 * whose jobs were lost.
 * @returns how many
 */
export async function rereadIgnored(db: Queryable, since: Date): Promise<number> {
  return REREAD_IGNORED.run(db, { since });
}

const REREAD_IGNORED = statement({
  acrossMerchants: 'the release that ended served all of them',
  params: { since: timestamptz },
  text: ({ since }) => `
    update provider_event set state = 'pending', detail = null, settled_at = null
    where state = 'ignored' and effect is null and body_removed_at is null and settled_at >= ${since}`,
});
