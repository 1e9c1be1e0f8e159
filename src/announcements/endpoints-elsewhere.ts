import type { Queryable } from '../db/transaction.ts';
import { invariant } from '../errors.ts';

/** Endpoints whose newest settings lie on the side that does not send now. */
export interface EndpointsElsewhere {
  readonly endpoints: number;
  readonly merchants: number;
}

/**
 * Counts the endpoints that the present sender knows nothing of, or nothing new: with Svix, those of the embedded sender that
 * were not moved to Svix; with the embedded sender, those that were, and not back.
 */
export async function countElsewhere(db: Queryable, sender: 'svix' | 'embedded'): Promise<EndpointsElsewhere> {
  const { rows } = await db.query<EndpointsElsewhere>(
    `select count(*)::integer as endpoints, count(distinct merchant_id)::integer as merchants
     from webhook_endpoint where (moved_at is null) = $1`,
    [sender === 'svix'],
  );
  const [row] = rows;
  invariant(row !== undefined, 'a count without a row');
  return row;
}
