import { onCitus } from '../db/backend.ts';
import { bigint, text, type timestamptz } from '../db/codec.ts';
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

/** What a check returns of each disagreement. */
export const FOUND = { subject: text, detail: text };

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

/** A rule whose rows become ever more, and do not change once they are old: of those only the weekly proof reads all. */
export interface HistoryCheck extends Check {
  /** The same of what was written since a time; null where nothing but a proof of all rows says anything. */
  readonly findSince: Statement<
    { readonly since: typeof timestamptz; readonly limit: typeof bigint },
    typeof FOUND
  > | null;
}

/** What a check finds, up to {@link MAX_PER_RULE}. */
export async function runCheck(
  db: Queryable,
  { rule, isOfEach = false, find }: Check,
): Promise<readonly Disagreement[]> {
  const found =
    isOfEach && onCitus()
      ? await ofEach(db, (merchantId, limit) => find.ofMerchant(db, merchantId, { limit }))
      : await find.all(db, { limit: MAX_PER_RULE });
  return found.map((one) => ({ rule, ...one }));
}

/** What a check finds in what was written since a time. */
export async function runCheckSince(
  db: Queryable,
  { rule, findSince }: HistoryCheck,
  since: Date,
): Promise<readonly Disagreement[]> {
  if (findSince === null) return [];
  const found = onCitus()
    ? await ofEach(db, (merchantId, limit) => findSince.ofMerchant(db, merchantId, { since, limit }))
    : await findSince.all(db, { since, limit: MAX_PER_RULE });
  return found.map((one) => ({ rule, ...one }));
}

/** One merchant after another; each is seen at one moment, which is all that an invariant is about. */
async function ofEach(
  db: Queryable,
  find: (merchantId: string, limit: number) => Promise<readonly Row<typeof FOUND>[]>,
): Promise<readonly Row<typeof FOUND>[]> {
  const found: Row<typeof FOUND>[] = [];
  for (const { merchantId } of await MERCHANTS.all(db)) {
    if (found.length >= MAX_PER_RULE) break;
    found.push(...(await find(merchantId, MAX_PER_RULE - found.length)));
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
