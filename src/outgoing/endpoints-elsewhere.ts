import { integer } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/** Endpoints whose newest settings are with the sender that is not in use now. */
export interface EndpointsElsewhere {
  readonly endpoints: number;
  readonly merchants: number;
}

/**
 * Counts the endpoints that the present sender does not know, or knows with old settings: with Svix, those of the embedded
 * sender that were not moved to Svix; with the embedded sender, those that we know at Svix and that were not moved back.
 */
export async function countElsewhere(db: Queryable, sender: 'svix' | 'embedded'): Promise<EndpointsElsewhere> {
  return (sender === 'svix' ? NOT_MOVED : AT_SVIX).one(db);
}

const countOf = (table: string) =>
  statement({
    acrossMerchants: 'a warning to the operator',
    params: {},
    row: { endpoints: integer, merchants: integer },
    text: () =>
      `select count(*)::integer as endpoints, count(distinct merchant_id)::integer as merchants from ${table}`,
  });
const NOT_MOVED = countOf('webhook_endpoint where moved_at is null or updated_at > moved_at');
const AT_SVIX = countOf('svix_endpoint');
