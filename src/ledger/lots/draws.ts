import { bigint, integer, text } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { assignments, columns, matches, omit, pick } from '../../db/table.ts';
import type { Tx } from '../../db/transaction.ts';
import { LOT, LOT_MOVEMENT, MOVED, OWN_ENTRY, OWN_KEY, WALLET, WALLET_KEY } from '../tables.ts';
import { COUNT, type Written, whole } from '../written.ts';
import type { LotChanges } from './lot.ts';

/** Entries that take out of open lots and leave something in each: what most debits of wallets with lots do. */

/**
 * Writes them in one statement, which looks at no table but those that change, and which nobody waits for. The transaction throws a
 * DatabaseError if a row was not there.
 */
export function writeWithDraws(tx: Tx, rows: Written, { open, movements }: LotChanges): void {
  const { merchantId, written, moved } = rows;
  const drawn = open.filter((lot) => lot.merchantId === merchantId);
  const own = movements.filter((one) => one.merchantId === merchantId);
  const count = moved.length + written.length + drawn.length;
  tx.withoutWaiting(WRITE_WITH_DRAWS.run(tx, { ...rows, drawn, movements: own, count }));
}

const DRAWN = pick(LOT.shape, 'remaining', 'spent', 'expired', 'voided', 'takenBack');
const OWN_MOVEMENT = omit(LOT_MOVEMENT.shape, 'merchantId');
const LOT_KEY = { ...WALLET_KEY, lotNo: bigint };
const LESS = { ...MOVED, ...pick(WALLET.shape, 'inLots') };

/** No index names a column that it changes of wallets and lots. */
const WRITE_WITH_DRAWS = statement({
  name: 'write-postings-and-draws',
  params: {
    merchantId: text,
    written: rowsOf(OWN_ENTRY),
    moved: rowsOf({ ...OWN_KEY, ...LESS }),
    drawn: rowsOf({ ...OWN_KEY, lotNo: bigint, ...DRAWN }),
    movements: rowsOf(OWN_MOVEMENT),
    ...COUNT,
  },
  row: { whole: integer },
  text: ({ merchantId, written, moved, drawn, movements, count }) => `
    with written as (
      insert into entry (merchant_id, ${columns(OWN_ENTRY)})
      select ${merchantId}, ${columns(OWN_ENTRY, 'n')} from ${written('n')}
      returning 1),
    moved as (
      update wallet w
      set ${assignments(LESS, 'n')}
      from ${moved('n', { merchantId })}
      where ${matches(WALLET_KEY, 'w', 'n')}
      returning 1),
    noted as (
      insert into unannounced_wallet (merchant_id, customer_id, currency)
      select merchant_id, customer_id, currency from ${moved('n', { merchantId })}
      on conflict do nothing),
    drawn as (
      update lot l
      set ${assignments(DRAWN, 'n')}
      from ${drawn('n', { merchantId })}
      where ${matches(LOT_KEY, 'l', 'n')}
      returning 1),
    lot_moved as (
      insert into lot_movement (merchant_id, ${columns(OWN_MOVEMENT)})
      select ${merchantId}, ${columns(OWN_MOVEMENT, 'n')} from ${movements('n')})
    select ${whole(['moved', 'written', 'drawn'], count)}`,
});
