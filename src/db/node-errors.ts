import pg from 'pg';

/** What a node says where one Postgres has a code for it. */
const CODES: readonly (readonly [message: RegExp, code: string])[] = [
  [/^duplicate key value violates unique constraint "/, '23505'],
  [/violates foreign key constraint "/, '23503'],
  [/violates check constraint "/, '23514'],
  [/^null value in column "/, '23502'],
  [/^canceling statement due to lock timeout/, '55P03'],
  [/^canceling statement due to statement timeout/, '57014'],
  [/^deadlock detected/, '40P01'],
];

/** Numbers of parts begin at 102008. */
const CONSTRAINT = /\bconstraint "([^"]+?)(?:_\d{6,})?"/;

/**
 * An error of a node of Citus as one Postgres reports it. What a node refuses of rows that are copied to it comes by its message alone, as an internal error
 * (XX000); a constraint always does, by the name that it has on the node's part of the table.
 */
export function asOfOnePostgres(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError)) return error;
  if (error.code === 'XX000') error.code = CODES.find(([message]) => message.test(error.message))?.[1] ?? error.code;
  const [, constraint] = CONSTRAINT.exec(error.message) ?? [];
  if (error.code?.startsWith('23') && constraint !== undefined) error.constraint ??= constraint;
  return error;
}
