import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from '../../../src/db/pool.ts';
import { transaction } from '../../../src/db/transaction.ts';
import { invariant } from '../../../src/errors.ts';
import type { PlaceHold } from '../../../src/ledger/holds/hold.ts';
import { sweepDueWallets } from '../../../src/ledger/holds/sweep.ts';
import { postBatch } from '../../../src/ledger/store.ts';
import { createLogger } from '../../../src/telemetry/log.ts';
import { customer, debit, forgetNews, MERCHANT, newKey, openFor, postAll, SETTINGS, WALLETS } from '../fill.ts';
import { drive } from '../load.ts';
import { itself, type Row } from '../row.ts';
import { measured, settle } from './kit.ts';

/**
 * How long the sweep takes for what ends in wallets that nobody asks, one hold or one lot in each, while others debit at half of what the
 * service can do; and what those debits lose by it.
 */

const CALLERS = 64;
const COUNT = 100_000;
const BAR_SECONDS = 120;
const LONGEST_SECONDS = 900;
const HOUR_MS = 3_600_000;
const IN_A_BATCH = 500;

type Ending = 'holds' | 'lots';

/** Something that ends in an hour, in each of these customers' rupees. */
async function prepare(pool: Pool, ending: Ending, customers: readonly string[]): Promise<void> {
  await openFor(pool, customers);
  const end = { at: new Date(Date.now() + HOUR_MS) };
  const terms = ending === 'lots' ? { terms: { kind: 'promo', name: null, priority: 50, end } as const } : {};
  await postAll(
    pool,
    customers.map((customerId) => ({ customerId, currency: 'INR', amountMinor: 10, ...terms })),
  );
  if (ending === 'lots') return;
  for (let from = 0; from < customers.length; from += IN_A_BATCH) {
    const commands = customers.slice(from, from + IN_A_BATCH).map(
      (customerId): PlaceHold => ({
        ...{ op: 'place', merchantId: MERCHANT, customerId, currency: 'INR', amountMinor: 10, partial: false },
        ...{ expiresInSeconds: HOUR_MS / 1000, reason: null, referenceObjectId: null, metadata: null },
        idempotencyKey: `api:${newKey()}`,
      }),
    );
    await transaction(pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: new Date() }));
  }
}

/** Debits at a steady rate until `signal`. @returns how many a second were answered */
async function steady(url: string, perSecond: number, signal: AbortSignal): Promise<number> {
  const startedAt = performance.now();
  let asked = 0;
  const next = async () => {
    asked += 1;
    const early = startedAt + (asked * 1000) / perSecond - performance.now();
    if (early > 0) await delay(early, null, { signal }).catch(() => {});
    return signal.aborted ? null : debit();
  };
  return (await drive(url, CALLERS, LONGEST_SECONDS, next)).requestsPerSecond;
}

/** The sweep as the worker does it, by a clock that is past all ends. @returns its seconds */
async function sweepAll(pool: Pool, count: number): Promise<number> {
  const startedAt = performance.now();
  const wallets = await sweepDueWallets({
    ...{ pool, settings: SETTINGS, onPosted: () => {}, logger: createLogger('error', 'bench') },
    clock: { now: () => new Date(Date.now() + 2 * HOUR_MS) },
    signal: new AbortController().signal,
  });
  invariant(wallets >= count, `of ${count} wallets, ${wallets} were swept`);
  return (performance.now() - startedAt) / 1000;
}

const ALONE = 'debits at that rate alone';
const MEANWHILE = 'debits meanwhile';

const sweepRow = (ending: Ending, first: number): Row => ({
  ...{ id: 'sweeps', name: `${COUNT.toLocaleString('en')} wallets in which ${ending} end, at half load`, unit: 's' },
  // What has ended cannot end again.
  rounds: 1,
  claims: [
    itself(BAR_SECONDS),
    {
      ...{ beside: ALONE, bar: { atLeast: 0.9 }, unit: '/s' },
      of: (block) => ({ ours: block(MEANWHILE).value, theirs: block(ALONE).value }),
    },
  ],
  sides: async ({ rig, seconds, scale }) => {
    const { url } = await rig.ours();
    const pool = rig.pool(await rig.main());
    const count = Math.round(COUNT * scale);
    await prepare(
      pool,
      ending,
      Array.from({ length: count }, (_, index) => customer(first + index)),
    );
    await forgetNews(pool);
    let rates = { alone: Number.NaN, meanwhile: Number.NaN };
    return {
      ours: async () => {
        const half = measured(await drive(url, CALLERS, seconds, () => debit())).value / 2;
        const alone = await steady(url, half, AbortSignal.timeout(seconds * 1000));
        const over = new AbortController();
        const meanwhile = steady(url, half, over.signal);
        const taken = await sweepAll(pool, count);
        over.abort();
        rates = { alone, meanwhile: await meanwhile };
        await settle(pool);
        // As long as all of them would have taken.
        return { value: taken / scale, requests: count };
      },
      [MEANWHILE]: async () => ({ value: rates.meanwhile, requests: 0 }),
      [ALONE]: async () => ({ value: rates.alone, requests: 0 }),
    };
  },
});

export const SWEEP_ROWS: readonly Row[] = [sweepRow('holds', WALLETS), sweepRow('lots', WALLETS + COUNT)];
