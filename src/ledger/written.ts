import { bigint } from '../db/codec.ts';
import { matches, type Shape } from '../db/table.ts';
import type { Entry, Wallet } from './entry.ts';

/** What every batch writes of a merchant, whichever statement does. */
export interface Written {
  readonly merchantId: string;
  readonly written: readonly Entry[];
  /** The wallets in their new state; whoever writes has locked them. */
  readonly moved: readonly Wallet[];
}

/** The parameter of {@link whole}. */
export const COUNT = { count: bigint };

/**
 * SQL of a statement that nobody waits for, since COMMIT may be on its way when it is answered: it counts by itself what its parts of
 * these names wrote, and divides by zero rather than leave something out.
 */
export const whole = (names: readonly string[], count: string): string =>
  `1 / (${names.map((name) => `(select count(*) from ${name})`).join(' + ')} = ${count})::integer as whole`;

/** A table under an alias, whose rows have this key. */
interface Keyed {
  readonly table: string;
  readonly alias: string;
  readonly key: Shape;
  readonly merchant: string;
}

/**
 * SQL for those of a table's rows that `rows`, under the alias `n`, name by their keys. Each is looked up by its key, and then found by its place. Joined with
 * them, a table that was nearly empty when Postgres made the plan, as those of open holds and lots often are, would be read whole for as long as the plan is kept.
 *
 * Only for rows that nobody changes but under their wallet's lock, which the transaction has from an earlier statement: a row that moved meanwhile would stay, which
 * the statement has to count by itself. The merchant stands there for Citus, in a form that gives one Postgres no index (backend.ts).
 */
export const atKeys = ({ table, alias, key, merchant }: Keyed, rows: string): string =>
  `(${alias}.merchant_id = ${merchant}) is true and ${alias}.ctid = any (array(
        select x.ctid from ${rows} cross join lateral (
          select x.ctid from ${table} x where ${matches(key, 'x', 'n')} limit 1) x))`;
