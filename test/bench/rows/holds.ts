import type { Pool } from '../../../src/db/pool.ts';
import { transaction } from '../../../src/db/transaction.ts';
import { invariant } from '../../../src/errors.ts';
import { holdId, type PlaceHold } from '../../../src/ledger/holds/hold.ts';
import { postBatch } from '../../../src/ledger/store.ts';
import { anyCustomer, customer, debit, MERCHANT, newKey, post, SETTINGS, WALLETS } from '../fill.ts';
import type { LoadRequest } from '../load.ts';
import { beside, type Measured, type Row, type Run } from '../row.ts';
import { ourSide, settle } from './kit.ts';

/** What holds cost, as a share of plain debits by the same service in the same blocks. */

const CALLERS = 64;
const BATCH = 500;
/** More than any machine so far has captured. */
const MOST_CAPTURED_A_SECOND = 8_000;

const placing = (customerId = anyCustomer()) =>
  post(`/customers/${customerId}/wallets/holds`, { amount: 10, currency: 'USD', idempotency_key: newKey() });
const capturing = (customerId: string, id: string) =>
  post(`/customers/${customerId}/wallets/holds/${id}/capture`, { amount: 7 });

/** Open holds in any wallets, without a request for each. @returns whose they are, and their ids */
async function openHolds(pool: Pool, count: number): Promise<{ customerId: string; id: string }[]> {
  const open: { customerId: string; id: string }[] = [];
  while (open.length < count) {
    const commands = Array.from({ length: Math.min(BATCH, count - open.length) }, (): PlaceHold => {
      const key = { merchantId: MERCHANT, customerId: anyCustomer(), currency: 'USD' };
      const rest = { amountMinor: 10, partial: false, expiresInSeconds: 3600, reason: null, referenceObjectId: null };
      return { op: 'place', ...key, ...rest, metadata: null, idempotencyKey: `api:${newKey()}` };
    });
    const outcomes = await transaction(pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: new Date() }));
    for (const outcome of outcomes) {
      invariant(outcome.kind === 'placed', 'a hold was not placed');
      open.push({ customerId: outcome.hold.customerId, id: holdId(outcome.hold) });
    }
  }
  return open;
}

type OpenHold = Awaited<ReturnType<typeof openHolds>>[number];

interface Shape {
  readonly name: string;
  readonly bar: number;
  readonly next: (open: OpenHold[]) => LoadRequest | null;
  /** How many holds are open when a measurement begins, beside those that are left over. */
  readonly holds?: (run: Run) => number;
  /** Two requests are one pair. */
  readonly arePairs?: boolean;
  /** What plain debits it is compared with. */
  readonly plain?: () => LoadRequest;
}

/** A row beside plain debits, spread or on the same wallet. */
function besideDebits({ name, bar, next, holds = () => 0, arePairs = false, plain = () => debit() }: Shape): Row {
  const unit = arePairs ? 'pairs/s' : '/s';
  return {
    ...{ id: 'holds', name: `${name}, ${CALLERS} callers`, unit, claims: [beside('plain debits', bar)] },
    sides: async (run) => {
      const pool = run.rig.pool(await run.rig.main());
      const open: OpenHold[] = [];
      const prepare = async () => {
        open.push(...(await openHolds(pool, Math.max(holds(run) - open.length, 0))));
        await settle(pool);
      };
      // The warm-up uses some up as well.
      await prepare();
      const measure = await ourSide(run, CALLERS, () => next(open));
      return {
        ours: { prepare, measure: async () => (arePairs ? halved(await measure()) : measure()) },
        'plain debits': await ourSide(run, CALLERS, plain),
      };
    },
  };
}

/** Places a hold and captures it, one after the other. */
const pair = (customerId: string): LoadRequest => ({
  ...placing(customerId),
  follow: (text) => capturing(customerId, JSON.parse(text).hold_id),
});

/** Two requests are one pair. */
const halved = ({ value, requests, ...rest }: Measured): Measured => ({
  ...{ ...rest, value: value / 2, requests: requests / 2 },
});

/** A client that gathers its holds has as many connections as one that does not, so both sides have these callers. Beside it, with the same bar: single ones by many more, which our own batches gather. */
const BATCH_CALLERS = 4;
const MANY = `single ones by ${CALLERS} callers`;

const byBatches: Row = {
  ...{ id: 'holds', name: `place by batches of ${BATCH}, ${BATCH_CALLERS} callers`, unit: '/s' },
  claims: [beside('single ones by as many callers', 3, 'single ones'), beside(MANY, 3)],
  sides: async (run) => {
    const operation = () => ({
      ...{ op: 'place', customer_id: anyCustomer(), amount: 10, currency: 'USD', idempotency_key: newKey() },
    });
    const measure = await ourSide(run, BATCH_CALLERS, () =>
      post('/holds/batch', { operations: Array.from({ length: BATCH }, operation) }),
    );
    return {
      ours: async () => {
        const { value, requests, ...rest } = await measure();
        return { ...rest, value: value * BATCH, requests: requests * BATCH };
      },
      'single ones': await ourSide(run, BATCH_CALLERS, () => placing()),
      [MANY]: await ourSide(run, CALLERS, () => placing()),
    };
  },
};

export const HOLD_ROWS: readonly Row[] = [
  besideDebits({
    ...{ name: 'debits while another hold is open', bar: 0.95 },
    holds: () => WALLETS / 10,
    next: () => debit(),
  }),
  besideDebits({ name: 'place', bar: 0.6, next: () => placing() }),
  besideDebits({
    ...{ name: 'final capture', bar: 0.6 },
    holds: (run) => run.seconds * MOST_CAPTURED_A_SECOND,
    next: (open) => {
      const one = open.pop();
      return one === undefined ? null : capturing(one.customerId, one.id);
    },
  }),
  besideDebits({
    ...{ name: 'pairs of place and capture', bar: 0.3, arePairs: true },
    next: () => pair(anyCustomer()),
  }),
  besideDebits({
    ...{ name: 'pairs on one wallet', bar: 0.35, arePairs: true, plain: () => debit(customer(0)) },
    next: () => pair(customer(0)),
  }),
  byBatches,
];

/** What closed holds take on disk, each; null where there are too few to say. */
export async function bytesPerClosedHold(pool: Pool): Promise<number | null> {
  const { rows } = await pool.query<{ count: number; bytes: number }>(
    "select count(*) as count, pg_total_relation_size('closed_hold') as bytes from closed_hold",
  );
  const [{ count, bytes } = { count: 0, bytes: 0 }] = rows;
  return count < 1_000 ? null : Math.round(bytes / count);
}
