import { eachMerchant } from '../db/by-merchant.ts';
import { bigint, boolean, hex, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, omit, table } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { type Check, first } from './check.ts';

/**
 * How far each wallet was proved. A run begins a wallet at its mark, unless it was not read from its first entry on for a week; so each
 * run reads what is new, one in a week reads all, and one that was killed goes on where it was: the next one finds its marks.
 */

const MARK = table('audit_mark', {
  merchantId: text,
  customerId: text,
  currency: text,
  seq: bigint,
  balance: bigint,
  head: nullable(hex),
  wholeAt: timestamptz,
  provedAt: timestamptz,
});

export interface Mark {
  readonly merchantId: string;
  readonly customerId: string;
  readonly currency: string;
  /** The last entry that was proved; 0 before the first. */
  readonly seq: number;
  readonly balance: number;
  readonly head: string | null;
  readonly wholeAt: Date;
  readonly provedAt: Date;
}

/** The beginning of the week, by which each wallet is read from its first entry on: Sunday in UTC. Pure. */
export function startOfWeek(now: Date): Date {
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - now.getUTCDay()));
}

/** Notes wallets that were proved. One in which something disagrees keeps the mark it had, so that each run finds the same until it is mended. */
export async function saveMarks(db: Queryable, marks: readonly Mark[]): Promise<void> {
  await eachMerchant(marks, (merchantId, own) => SAVE.run(db, { merchantId, marks: own }));
}

const OWN = omit(MARK.shape, 'merchantId');

const SAVE = statement({
  params: { merchantId: text, marks: rowsOf(OWN) },
  text: ({ merchantId, marks }) => `
    insert into audit_mark (merchant_id, ${columns(OWN)})
    select ${merchantId}, ${columns(OWN, 'n')} from ${marks('n')}
    on conflict (merchant_id, customer_id, currency) do update
      set seq = excluded.seq, balance = excluded.balance, head = excluded.head, whole_at = excluded.whole_at, proved_at = excluded.proved_at`,
});

/** Whether whoever runs the audit may write marks here: not on a replica, nor as a user who only reads. Postgres takes any one right of a list for all. */
export async function mayMark(db: Queryable): Promise<boolean> {
  return (await MAY_MARK.one(db)).may;
}

const MAY_MARK = statement({
  params: {},
  row: { may: boolean },
  text: () => `
    select case when to_regclass('public.audit_finding') is null or pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' then false
      else (
        select bool_and(has_table_privilege('public.' || named, one))
        from (values ('audit_mark', 'select'), ('audit_mark', 'insert'), ('audit_mark', 'update'), ('audit_rule', 'select'), ('audit_rule', 'insert'),
          ('audit_rule', 'update'), ('audit_finding', 'select'), ('audit_finding', 'insert'), ('audit_finding', 'delete')) as n (named, one)) end as may`,
});

/** What the marks alone can tell: nothing that was proved may be gone. */
export const MARK_CHECKS: readonly Check[] = [
  {
    rule: '3c proved before',
    find: statement(
      first(`select format('%s/%s/%s', m.merchant_id, m.customer_id, m.currency) as subject,
        format('%s entries were proved, and there is no such wallet', m.seq) as detail
      from audit_mark m
      where not exists (select from wallet w
        where w.merchant_id = m.merchant_id and w.customer_id = m.customer_id and w.currency = m.currency)`),
    ),
  },
];
