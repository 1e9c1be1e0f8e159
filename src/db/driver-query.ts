import type pg from 'pg';
import type { SqlText } from './sql-text.ts';
import { withoutValues } from './sqlstate.ts';

/** What a statement returned, each row as an array of its columns. */
export interface RowArrays {
  readonly rows: readonly (readonly unknown[])[];
  readonly rowCount: number | null;
}

/** Sends a statement, and says nothing of values where it fails. */
export function queryRows<Row extends pg.QueryResultRow>(
  target: pg.ClientBase,
  statement: SqlText,
  values: readonly unknown[],
): Promise<pg.QueryResult<Row>> {
  const config = typeof statement === 'string' ? { text: statement } : { name: statement.name, text: statement.text };
  return target.query<Row>({ ...config, values: [...values] }).catch(withoutValues);
}

/** The same, for rows as arrays. */
export function queryArrays(target: pg.ClientBase, statement: SqlText, values: readonly unknown[]): Promise<RowArrays> {
  const config = typeof statement === 'string' ? { text: statement } : statement;
  return target.query({ ...config, values: [...values], rowMode: 'array' }).catch(withoutValues);
}

/** A part of a transaction's work went on once another part of it had failed. Nothing was sent. */
export class TransactionOverError extends Error {
  override readonly name = 'TransactionOverError';

  constructor() {
    super('a statement was sent to a transaction that is over');
  }
}
