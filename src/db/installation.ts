import { invariant } from '../errors.ts';
import type { Queryable } from './transaction.ts';

/** The id that this database got at its first migration (`ins_` and 32 hexadecimal digits); it never changes. */
export async function readInstallationId(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ installation_id: string }>('select installation_id from installation');
  const [row] = rows;
  invariant(row !== undefined, 'the database has no installation id');
  return row.installation_id;
}
