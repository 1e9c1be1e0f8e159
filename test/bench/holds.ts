import type { Pool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import { invariant } from '../../src/errors.ts';
import { holdId, type PlaceHold } from '../../src/ledger/holds/hold.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { drive, type LoadRequest } from './load.ts';

/**
 * What holds cost, as a share of plain debits by the same service in the same rounds: the bars are those of the budget in
 * test/bench/README.md. `baseline` is the plain debits.
 */

export interface Place {
  readonly url: string;
  readonly pool: Pool;
  readonly seconds: number;
  readonly headers: Record<string, string>;
  /** How many wallets there are, and the customer of each. */
  readonly wallets: number;
  readonly customer: (index: number) => string;
}

export interface HoldWorkload {
  readonly name: string;
  readonly unit: string;
  measure(side: 'ours' | 'baseline', place: Place): Promise<number>;
}

export const CALLERS = 64;
const FUNDS = 1_000_000_000;
export const SETTINGS = {
  currencies: new Set(['USD', 'INR']),
  rule: { defaultThresholds: new Map(), marginPercent: 10, minIntervalSeconds: 3600, reminderSeconds: 0 },
  lotRule: { noticeDays: [], noticeMinimums: new Map(), paidExpiryMinDays: null },
};

let keys = 0;
const newKey = () => {
  keys += 1;
  return `hold-${process.pid}-${keys}`;
};

const any = ({ wallets, customer }: Place) => customer(Math.floor(Math.random() * wallets));

function post({ headers }: Place, path: string, body: object): LoadRequest {
  return { method: 'POST', path, headers, body: JSON.stringify(body) };
}

export const debit = (place: Place, customerId = any(place), currency = 'USD') =>
  post(place, `/customers/${customerId}/wallets/ledger-entries`, {
    ...{ amount: 1, currency, entry_type: 'debit', reason: 'bench', idempotency_key: newKey() },
  });
const placing = (place: Place, customerId = any(place)) =>
  post(place, `/customers/${customerId}/wallets/holds`, { amount: 10, currency: 'USD', idempotency_key: newKey() });
const capturing = (place: Place, customerId: string, id: string) =>
  post(place, `/customers/${customerId}/wallets/holds/${id}/capture`, { amount: 7 });

/** Money in every wallet, once. */
let funded: Promise<void> | null = null;
export function fund(place: Place): Promise<void> {
  funded ??= (async () => {
    const customers = Array.from({ length: place.wallets }, (_, index) => place.customer(index));
    for (let from = 0; from < customers.length; from += 500) {
      const postings = customers.slice(from, from + 500).map((customerId) => ({
        ...{ merchantId: 'bus_default', customerId, currency: 'USD', amountMinor: FUNDS, isCredit: true },
        ...{ eventType: 'merchant_adjustment' as const, reason: null, referenceObjectId: null, metadata: null },
        idempotencyKey: null,
      }));
      await transaction(place.pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now: new Date() }));
    }
  })();
  return funded;
}

/** Open holds in any wallets, without a request for each. @returns whose they are, and their ids */
async function openHolds(place: Place, count: number): Promise<{ customerId: string; id: string }[]> {
  const open: { customerId: string; id: string }[] = [];
  while (open.length < count) {
    const commands = Array.from({ length: Math.min(500, count - open.length) }, (): PlaceHold => {
      const key = { merchantId: 'bus_default', customerId: any(place), currency: 'USD' };
      const rest = { amountMinor: 10, partial: false, expiresInSeconds: 3600, reason: null, referenceObjectId: null };
      return { op: 'place', ...key, ...rest, metadata: null, idempotencyKey: `api:${newKey()}` };
    });
    const outcomes = await transaction(place.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: new Date() }));
    for (const outcome of outcomes) {
      invariant(outcome.kind === 'placed', 'a hold was not placed');
      open.push({ customerId: outcome.hold.customerId, id: holdId(outcome.hold) });
    }
  }
  return open;
}

export const rate = async ({ url, seconds }: Place, next: () => LoadRequest | null): Promise<number> =>
  (await drive(url, CALLERS, seconds, next)).requestsPerSecond;

/** A row beside plain debits, spread or on the same wallet. */
function besideDebits(
  name: string,
  measure: (place: Place) => Promise<number>,
  { unit = 'requests/s', isHot = false } = {},
): HoldWorkload {
  return {
    name: `holds: ${name}, beside plain debits`,
    unit,
    measure: async (side, place) => {
      await fund(place);
      if (side === 'ours') return measure(place);
      return rate(place, () => debit(place, isHot ? place.customer(0) : undefined));
    },
  };
}

/** Places a hold and captures it, one after the other. */
const pair = (place: Place, customerId: string): LoadRequest => ({
  ...placing(place, customerId),
  follow: (text) => capturing(place, customerId, JSON.parse(text).hold_id),
});

const BATCH = 500;

export const HOLD_WORKLOADS: readonly HoldWorkload[] = [
  besideDebits('debits while another hold is open, 64 callers', async (place) => {
    await openHolds(place, place.wallets / 10);
    return rate(place, () => debit(place));
  }),
  besideDebits('place, 64 callers', (place) => rate(place, () => placing(place))),
  besideDebits('final capture, 64 callers', async (place) => {
    const open = await openHolds(place, place.seconds * 4_000);
    return rate(place, () => {
      const one = open.pop();
      return one === undefined ? null : capturing(place, one.customerId, one.id);
    });
  }),
  besideDebits(
    'pairs of place and capture, 64 callers',
    async (place) => (await rate(place, () => pair(place, any(place)))) / 2,
    {
      unit: 'pairs/s',
    },
  ),
  besideDebits(
    'pairs on one wallet, 64 callers',
    async (place) => (await rate(place, () => pair(place, place.customer(0)))) / 2,
    { unit: 'pairs/s', isHot: true },
  ),
  {
    name: `holds: place by batches of ${BATCH}, 4 callers, beside single requests by 64`,
    unit: 'holds/s',
    measure: async (side, place) => {
      await fund(place);
      if (side === 'baseline') return rate(place, () => placing(place));
      const operation = () => ({
        op: 'place',
        customer_id: any(place),
        amount: 10,
        currency: 'USD',
        idempotency_key: newKey(),
      });
      const next = () => post(place, '/holds/batch', { operations: Array.from({ length: BATCH }, operation) });
      return (await drive(place.url, 4, place.seconds, next)).requestsPerSecond * BATCH;
    },
  },
];

/** What closed holds take on disk, each; null where there are too few to say. */
export async function bytesPerClosedHold(pool: Pool): Promise<number | null> {
  const { rows } = await pool.query<{ count: number; bytes: number }>(
    "select count(*) as count, pg_total_relation_size('closed_hold') as bytes from closed_hold",
  );
  const [{ count, bytes } = { count: 0, bytes: 0 }] = rows;
  return count < 1_000 ? null : Math.round(bytes / count);
}
