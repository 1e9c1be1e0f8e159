import { transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { CALLERS, debit, fund, type HoldWorkload, type Place, rate, SETTINGS } from './holds.ts';

/**
 * What lots cost: debits of wallets in rupees that are made of lots alone, beside plain debits of the same customers' wallets in dollars, by the
 * same service in the same rounds. The bars are those of the budget in test/bench/README.md.
 */

/** So many wallets have lots, of each row its own. */
const OWNERS = 2_000;
const LOT = 10_000_000;
const IN_A_BATCH = 500;
const END = new Date(Date.now() + 1_000 * 86_400_000);

const given = new Map<string, Promise<void>>();

/** Gives each of the customers from `first` on so many lots, once. */
function give(place: Place, { first, count, each }: { first: number; count: number; each: number }): Promise<void> {
  const work = async () => {
    const customers = Array.from({ length: count * each }, (_, index) => place.customer(first + (index % count)));
    const terms = { kind: 'promo', name: null, priority: 50, end: { at: END } } as const;
    for (let from = 0; from < customers.length; from += IN_A_BATCH) {
      const postings = customers.slice(from, from + IN_A_BATCH).map((customerId) => ({
        ...{ merchantId: 'bus_default', customerId, currency: 'INR', amountMinor: LOT, isCredit: true, terms },
        ...{ eventType: 'merchant_adjustment' as const, reason: null, referenceObjectId: null, metadata: null },
        idempotencyKey: null,
      }));
      await transaction(place.pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now: new Date() }));
    }
  };
  const known = given.get(`${first}`) ?? work();
  given.set(`${first}`, known);
  return known;
}

function spread(each: number, first: number): HoldWorkload {
  const owner = (place: Place) => place.customer(first + Math.floor(Math.random() * OWNERS));
  return {
    name: `lots: debits of wallets with ${each} open, ${CALLERS} callers, beside plain debits`,
    unit: 'requests/s',
    measure: async (side, place) => {
      await fund(place);
      await give(place, { first, count: OWNERS, each });
      return rate(place, () => debit(place, owner(place), side === 'ours' ? 'INR' : 'USD'));
    },
  };
}

const HOT = 2 * OWNERS;

export const LOT_WORKLOADS: readonly HoldWorkload[] = [
  spread(1, 0),
  spread(20, OWNERS),
  {
    name: `lots: debits of one wallet with 20 open, ${CALLERS} callers, beside plain debits`,
    unit: 'requests/s',
    measure: async (side, place) => {
      await fund(place);
      await give(place, { first: HOT, count: 1, each: 20 });
      return rate(place, () => debit(place, place.customer(HOT), side === 'ours' ? 'INR' : 'USD'));
    },
  },
];
