import type { Pool } from '../../../src/db/pool.ts';
import { customer, debit, get, postAll } from '../fill.ts';
import { beside, p50Beside, type Row, type Run } from '../row.ts';
import { ourSide } from './kit.ts';

/**
 * What lots cost: debits of wallets in rupees that are made of lots alone, beside plain debits of the same customers' wallets in dollars, by the
 * same service in the same blocks; and a wallet's list of lots.
 */

/** So many wallets have lots, of each row its own. */
const OWNERS = 2_000;
const LOT = 10_000_000;
const CALLERS = 64;
const DAY_MS = 86_400_000;

/** Gives each of the customers from `first` on so many lots. */
async function give(pool: Pool, { first, count, each }: { first: number; count: number; each: number }): Promise<void> {
  const terms = {
    kind: 'promo',
    name: null,
    priority: 50,
    end: { at: new Date(Date.now() + 1_000 * DAY_MS) },
  } as const;
  const given = { currency: 'INR', amountMinor: LOT, terms };
  await postAll(
    pool,
    Array.from({ length: count * each }, (_, index) => ({ ...given, customerId: customer(first + (index % count)) })),
  );
}

interface Owned {
  readonly name: string;
  readonly bar: number;
  readonly first: number;
  readonly count: number;
  readonly each: number;
}

const ownedRow = ({ name, bar, ...owners }: Owned): Row => ({
  ...{ id: 'lots', name: `${name}, ${CALLERS} callers`, unit: '/s', claims: [beside('plain debits', bar)] },
  sides: async (run) => {
    await give(run.rig.pool(await run.rig.main()), owners);
    const owner = () => customer(owners.first + Math.floor(Math.random() * owners.count));
    return {
      ours: await ourSide(run, CALLERS, () => debit(owner(), 'INR')),
      'plain debits': await ourSide(run, CALLERS, () => debit(owner())),
    };
  },
});

const CLOSED = 10_000;
const LISTED = { many: customer(2 * OWNERS + 1), few: customer(2 * OWNERS + 2) };

/** Lots that were spent: each is given and debited at once. */
async function spend(run: Run, customerId: string, count: number): Promise<void> {
  const pool = run.rig.pool(await run.rig.main());
  const terms = {
    kind: 'promo',
    name: null,
    priority: 50,
    end: { at: new Date(Date.now() + 1_000 * DAY_MS) },
  } as const;
  const one = { customerId, currency: 'INR', amountMinor: 100 };
  await postAll(
    pool,
    Array.from({ length: count }, () => [
      { ...one, terms },
      { ...one, isCredit: false },
    ]).flat(),
  );
}

/** As a latency: how long one caller waits for the first page. */
const list: Row = {
  id: 'lots',
  name: `list of a wallet with ${CLOSED.toLocaleString('en')} closed, p50`,
  unit: '/s',
  claims: [p50Beside('a wallet with 10', 1.5)],
  sides: async (run) => {
    await spend(run, LISTED.many, Math.round(CLOSED * run.scale));
    await spend(run, LISTED.few, 10);
    const page = (customerId: string) =>
      ourSide(run, 1, () => get(`/customers/${customerId}/wallets/lots?status=closed&currency=INR&page_size=10`));
    return { ours: await page(LISTED.many), 'a wallet with 10': await page(LISTED.few) };
  },
};

export const LOT_ROWS: readonly Row[] = [
  ownedRow({ name: 'debits of wallets with 1 open', bar: 0.75, first: 0, count: OWNERS, each: 1 }),
  ownedRow({ name: 'debits of wallets with 20 open', bar: 0.5, first: OWNERS, count: OWNERS, each: 20 }),
  ownedRow({ name: 'debits of one wallet with 20 open', bar: 0.5, first: 2 * OWNERS, count: 1, each: 20 }),
  list,
];
