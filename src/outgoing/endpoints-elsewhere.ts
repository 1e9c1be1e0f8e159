import type { Queryable } from '../db/transaction.ts';
import { invariant } from '../errors.ts';

/** Endpoints whose newest settings lie on the side that does not send now. */
export interface EndpointsElsewhere {
  readonly endpoints: number;
  readonly merchants: number;
}

/**
 * Counts the endpoints that the present sender knows nothing of, or nothing new: with Svix, those of the embedded sender that
 * were not moved to Svix; with the embedded sender, those that we know at Svix and that were not moved back.
 */
export async function countElsewhere(db: Queryable, sender: 'svix' | 'embedded'): Promise<EndpointsElsewhere> {
  const { rows } = await db.query<EndpointsElsewhere>(sender === 'svix' ? NOT_MOVED : AT_SVIX);
  const [row] = rows;
  invariant(row !== undefined, 'a count without a row');
  return row;
}

const COUNTS = 'count(*)::integer as endpoints, count(distinct merchant_id)::integer as merchants';
const NOT_MOVED = `select ${COUNTS} from webhook_endpoint where moved_at is null or updated_at > moved_at`;
const AT_SVIX = `select ${COUNTS} from svix_endpoint`;
