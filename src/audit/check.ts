import { onCitus } from '../db/backend.ts';
import { bigint, text } from '../db/codec.ts';
import { type Statement, statement } from '../db/statement.ts';
import type { Row } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';

/** One place where the books contradict themselves. */
export interface Disagreement {
  /** The invariant's number and name in src/ledger/README.md. */
  readonly rule: string;
  readonly subject: string;
  readonly detail: string;
}

/** The most disagreements that are reported of one rule. */
export const MAX_PER_RULE = 20;

const FOUND = { subject: text, detail: text };

/** `sql` selects `subject` and `detail` of every disagreement. It is one statement, so it sees the books at one moment. */
export const first = (sql: string) => ({
  acrossMerchants: 'the books are audited as a whole',
  params: { limit: bigint },
  row: FOUND,
  text: ({ limit }: { readonly limit: string }) => `${sql} limit ${limit}`,
});

export interface Check {
  readonly rule: string;
  /** On Citus it is asked for one merchant after another: the planner of the coordinator cannot do it for all at once. */
  readonly isOfEach?: boolean;
  readonly find: Statement<{ readonly limit: typeof bigint }, typeof FOUND>;
}

/** What a check finds, up to {@link MAX_PER_RULE}. */
export async function runCheck(
  db: Queryable,
  { rule, isOfEach = false, find }: Check,
): Promise<readonly Disagreement[]> {
  const found = isOfEach && onCitus() ? await ofEach(db, find) : await find.all(db, { limit: MAX_PER_RULE });
  return found.map((one) => ({ rule, ...one }));
}

/** One merchant after another; each is seen at one moment, which is all that an invariant is about. */
async function ofEach(db: Queryable, find: Check['find']): Promise<readonly Row<typeof FOUND>[]> {
  const found: Row<typeof FOUND>[] = [];
  for (const { merchantId } of await MERCHANTS.all(db)) {
    if (found.length >= MAX_PER_RULE) break;
    found.push(...(await find.ofMerchant(db, merchantId, { limit: MAX_PER_RULE - found.length })));
  }
  return found;
}

const MERCHANTS = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: {},
  row: { merchantId: text },
  text: () => 'select merchant_id from merchant order by merchant_id',
});

/** SQL for the name of the wallet `w` in a report. */
export const WALLET_NAME = "format('%s/%s/%s', w.merchant_id, w.customer_id, w.currency)";
/** SQL for what the entry `e` adds to its wallet. */
export const SIGNED = 'case when e.is_credit then e.amount else -e.amount end';

/** How long something may be open after its end: the sweep looks every minute, and tries again what failed. */
export const LONG_OVER_MS = 3_600_000;
