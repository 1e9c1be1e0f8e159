import { integer, nullable, text, tid } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { assignments, columns, matches, omit, pick, soleRow } from '../../db/table.ts';
import type { Tx } from '../../db/transaction.ts';
import type { HoldChanges } from '../book-changes.ts';
import { HOLD, OWN_KEY, WALLET, WALLET_DUE, WALLET_KEY } from '../tables.ts';
import { COUNT, type Written, whole } from '../written.ts';

/** Holds that are placed in wallets to which nothing else happens: what most batches of holds do. */

export const OWN_DUE = omit(WALLET_DUE.shape, 'merchantId');

/**
 * A part of a statement: the wallets in which something ends sooner than the work list says. One that is on it already costs a look by its
 * key alone; asked for what is due by then, Postgres may read the list in its order.
 */
export const dueSooner = (due: string) => `
  due as (
    insert into wallet_due (merchant_id, ${columns(OWN_DUE)})
    select n.merchant_id, ${columns(OWN_DUE, 'n')} from ${due}
    where coalesce((select d.due_at from wallet_due d where ${soleRow(WALLET_KEY, 'd', 'n')}), 'infinity') > n.due_at
    on conflict (merchant_id, customer_id, currency) do update set due_at = least(wallet_due.due_at, excluded.due_at))`;

/**
 * Writes them in one statement, which looks at no table but those that change, and which nobody waits for. The transaction throws a
 * DatabaseError if a wallet was not there, or a hold was there before.
 */
export function writePlaced(tx: Tx, { merchantId, moved }: Written, changes: Pick<HoldChanges, 'open' | 'due'>): void {
  const placed = changes.open.filter((hold) => hold.merchantId === merchantId);
  const due = changes.due.filter((wallet) => wallet.merchantId === merchantId);
  const count = moved.length + placed.length;
  const locked = moved.map(({ customerId, currency, held, openHolds, holdSeq, dueAt, at = null }) => {
    return { customerId, currency, held, openHolds, holdSeq, dueAt, at };
  });
  tx.withoutWaiting(WRITE_PLACED.run(tx, { merchantId, moved: locked, placed, due, count }));
}

const BY_KEY = matches(WALLET_KEY, 'w', 'n');
const SET_ASIDE = pick(WALLET.shape, 'held', 'openHolds', 'holdSeq', 'dueAt');
/** Nothing is captured of one yet. */
const PLACED = omit(HOLD.shape, 'merchantId', 'captured');

/** Parts of the statement: of `n`, by a condition that says which wallet `w` is meant. */
const movedWhere = (isMeant: string, rows: string) => `moved as (
      update wallet w
      set ${assignments(SET_ASIDE, 'n')}
      from ${rows}
      where ${isMeant}
      returning 1)`;
const placedOf = (merchant: string, rows: string) => `
    placed as (
      insert into hold (merchant_id, captured, ${columns(PLACED)})
      select ${merchant}, 0, ${columns(PLACED, 'n')} from ${rows}
      returning 1)`;

/**
 * Locked wallets stand where they did, and one that is not found there is missing in the count: to look each up by its key again took 8 % of a batch of
 * holds in Postgres. It must have the key all the same, in a form by which no index is looked for. On Citus a place is one of a node.
 */
const WRITE_PLACED = statement({
  name: 'write-placed-holds',
  params: {
    merchantId: text,
    moved: rowsOf({ ...OWN_KEY, ...SET_ASIDE, at: nullable(tid) }),
    placed: rowsOf(PLACED),
    due: rowsOf(OWN_DUE),
    ...COUNT,
  },
  row: { whole: integer },
  text: ({ merchantId, moved, placed, due, count }) => `
    with ${movedWhere(`w.ctid = n.at and (${BY_KEY}) is true`, moved('n', { merchantId }))},
    ${placedOf(merchantId, placed('n'))},
    ${dueSooner(due('n', { merchantId }))}
    select ${whole(['moved', 'placed'], count)}`,
  textOnCitus: ({ merchantId, moved, placed, due, count }) => `
    with ${movedWhere(BY_KEY, moved('n', { merchantId }))},
    ${placedOf(merchantId, placed('n'))},
    ${dueSooner(due('n', { merchantId }))}
    select ${whole(['moved', 'placed'], count)}`,
});
