import { invariant } from '../../../src/errors.ts';
import { proportionalMegabytes, residentMegabytes } from '../cpu.ts';
import { anyCustomer, customer, debit, get } from '../fill.ts';
import { drive, type LoadRequest } from '../load.ts';
import { beside, besideBoth, itself, p50Beside, type Row, type Run } from '../row.ts';
import { debitBatches, SQL_LIMIT } from '../sql-limits.ts';
import { baselineSide, halfOfThemTwice, limitSide, measured, ourSide, peakOf, settle } from './kit.ts';

/** Debits and reads of balances: W2 to W5, W9 and W10. */

const spread = () => debit();
const hot = () => debit(customer(0));

interface Load {
  readonly concurrency: number;
  readonly next: () => LoadRequest;
  readonly sql: 'spread' | 'hot';
}

/** Debits beside both baselines and all limits. */
async function debitSides(run: Run, { concurrency, next, sql }: Load) {
  const load = { concurrency, next };
  const sqlPool = run.rig.pool(await run.rig.baseline(), SQL_LIMIT);
  return {
    ours: await ourSide(run, concurrency, next),
    strong: await baselineSide(run, 'strong', load),
    naive: await baselineSide(run, 'naive', load),
    express: await limitSide(run, 'express', load),
    'node:http': await limitSide(run, 'node-http', load),
    'SQL batches': () => debitBatches(sqlPool, run.seconds, sql),
  };
}

const DEBIT_CLAIMS = { strong: 'strong baseline', naive: 'naive baseline', both: 'Express and SQL batches' } as const;

const spreadRow = (concurrency: number): Row => ({
  id: 'W2',
  name: `debits spread over 20,000 wallets, ${concurrency} callers`,
  unit: '/s',
  claims: [
    beside(DEBIT_CLAIMS.strong, 3, 'strong'),
    besideBoth(DEBIT_CLAIMS.both, ['express', 'SQL batches'], 0.4),
    beside(DEBIT_CLAIMS.naive, null, 'naive'),
    beside('bare Express', null, 'express'),
    beside('bare node:http', null, 'node:http'),
    beside('SQL batches of 500', null, 'SQL batches'),
  ],
  sides: (run) => debitSides(run, { concurrency, next: spread, sql: 'spread' }),
});

const hotRow = (concurrency: number): Row => ({
  id: 'W3',
  name: `debits of one wallet, ${concurrency} callers`,
  unit: '/s',
  claims: [
    beside(DEBIT_CLAIMS.strong, 10, 'strong'),
    beside(DEBIT_CLAIMS.naive, null, 'naive'),
    beside('bare Express', null, 'express'),
    beside('SQL batches of 500', null, 'SQL batches'),
  ],
  sides: async (run) => {
    const { 'node:http': _, ...sides } = await debitSides(run, { concurrency, next: hot, sql: 'hot' });
    return sides;
  },
});

/** Debits half of which are repetitions; each key has to be accepted exactly once. */
async function withDuplicates(run: Run) {
  const server = await run.rig.ours();
  const pool = run.rig.pool(await run.rig.main());
  return async () => {
    const load = halfOfThemTwice((key) => debit(anyCustomer(), 'USD', key));
    const result = await drive(server.url, 64, run.seconds, load.next);
    const accepted = result.answered.get(200) ?? 0;
    invariant(accepted === load.fresh(), `${load.fresh()} keys were sent, and ${accepted} requests accepted`);
    await settle(pool);
    return measured(result);
  };
}

const duplicates: Row = {
  id: 'W4',
  name: 'debits, half of them repeated, 64 callers',
  unit: '/s',
  claims: [beside('W2', 1, 'W2'), beside(DEBIT_CLAIMS.strong, null, 'strong')],
  sides: async (run) => ({
    ours: await withDuplicates(run),
    W2: await ourSide(run, 64, spread),
    strong: await baselineSide(run, 'strong', {
      concurrency: 64,
      next: halfOfThemTwice((key) => debit(anyCustomer(), 'USD', key)).next,
    }),
  }),
};

const reads: Row = {
  id: 'W5',
  name: 'reads of balances, 64 callers',
  unit: '/s',
  claims: [beside('bare Express', 0.6, 'express'), beside(DEBIT_CLAIMS.strong, null, 'strong')],
  sides: async (run) => {
    const load = { concurrency: 64, next: () => get(`/customers/${anyCustomer()}/wallets`) };
    return {
      ours: await ourSide(run, load.concurrency, load.next),
      express: await limitSide(run, 'express', load),
      strong: await baselineSide(run, 'strong', load),
    };
  },
};

const fewCallers = (concurrency: number, bar: number | null): Row => ({
  id: 'W9',
  name: `debits, ${concurrency === 1 ? '1 caller' : `${concurrency} callers`}, p50`,
  unit: '/s',
  claims: [p50Beside('strong baseline', bar, 'strong')],
  sides: async (run) => ({
    ours: await ourSide(run, concurrency, spread),
    strong: await baselineSide(run, 'strong', { concurrency, next: spread }),
  }),
});

const memory: Row = {
  id: 'W10',
  name: 'memory of web and worker under W2, 64 callers',
  unit: 'MB',
  claims: [itself(300)],
  sides: async (run) => {
    const web = await run.rig.ours();
    const database = await run.rig.main();
    const worker = await run.rig.server('worker', database);
    const pool = run.rig.pool(database);
    const peakBy = (measure: (pid: number) => Promise<number>) => async () => {
      const value = await peakOf([web.pid, worker.pid], measure, () => drive(web.url, 64, run.seconds, spread));
      await settle(pool);
      return { value, requests: 0 };
    };
    return { ours: peakBy(residentMegabytes), 'shared pages in parts (PSS)': peakBy(proportionalMegabytes) };
  },
};

export const POSTING_ROWS: readonly Row[] = [
  spreadRow(64),
  spreadRow(256),
  hotRow(64),
  hotRow(256),
  duplicates,
  reads,
  fewCallers(1, 1.2),
  fewCallers(4, null),
  memory,
];
