import { bigint } from '../db/codec.ts';
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
