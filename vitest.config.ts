import { readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/longest-first.ts';
import { ReporterWithCauses } from './test/support/reporter.ts';

const isAllFaults = process.env.FAULTS === 'all';
const outputFile = `coverage/${process.env.REPORT ?? (isAllFaults ? 'faults' : 'test')}-report.json`;

/**
 * Faults that start processes or floods of their own, and take a third of the time of all tests. `npm test` draws half of them, by a
 * seed that it prints (SEED=<n> repeats it); `npm run test:faults`, which CI runs as well, has all.
 */
const SLOW_FAULTS =
  /^f(?:01-|03-|05-|06-|07-|08-|09-|13-|20-|22-|24-|25-|29-|32-|33-|34-|35-|39-|41-|43-|44-|45-|46-|49-).*\.test\.ts$/;
const isNarrowed = process.argv.slice(3).some((argument) => !argument.startsWith('-'));

function notDrawn(): readonly string[] {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
  const slow = readdirSync(new URL('test/faults', import.meta.url)).filter((name) => SLOW_FAULTS.test(name));
  const left = slow.filter((_, index) => ((seed >> (index % 16)) + index) % 2 === 0);
  const drawn = slow.filter((name) => !left.includes(name)).map((name) => name.slice(0, 3));
  console.log(`Of the slow faults, SEED=${seed} draws ${drawn.join(' ')}; npm run test:faults has all.`);
  return left.map((name) => `test/faults/${name}`);
}

/** Test files that change what is of the whole process: its timers, its clock, its environment, its memory, its declared statements. */
const ALONE = ['batcher', 'batcher-apart', 'requests-by-sdks', 'statement'];
const ROOMS = [
  'audit charging config crypto customers db http jobs ledger',
  'checkouts inbox merchants payments providers reconciliation retention schedules top-ups',
].flatMap((rooms) => rooms.split(' '));

/**
 * Test files that share a process, one after another: to start one and to read all modules again for each file took a fifth of
 * the time of all tests. What a file needs it makes for itself, such as its database; nothing in `src` outlives it.
 */
const TOGETHER = `test/{${ROOMS.join(',')}}/**/!(${ALONE.join('|')}).test.ts`;

// Minutes of killing and restarting: `npm run test:faults` has them.
const LEFT_OUT = [
  '**/node_modules/**',
  ...(isAllFaults ? [] : ['test/faults/slow/**', ...(isNarrowed ? [] : notDrawn())]),
];

// Each file has a database and, some of them, servers and child processes of its own. They wait more than they compute:
// on two cores, four at a time take two thirds of the time of two. The slow faults have deadlines, which four would miss.
const maxWorkers = isAllFaults ? 3 : 4;

// As in test/support/wait.ts.
const patience = process.env.CITUS_URL ? 4 : 1;

const each = {
  pool: 'forks',
  setupFiles: ['test/support/backend.ts'],
  maxWorkers,
  // Generous, for a busy machine: what must be quick says so itself.
  testTimeout: 180_000 * patience,
  hookTimeout: 180_000 * patience,
  // A retry would hide a race, which is what many of these tests are for. CI runs a failed file once more and says so.
  retry: 0,
} as const;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...each,
          name: 'alone',
          include: ['test/**/*.test.ts'],
          exclude: [...LEFT_OUT, TOGETHER],
        },
      },
      {
        test: { ...each, name: 'together', include: [TOGETHER], exclude: LEFT_OUT, isolate: false },
      },
    ],
    maxWorkers,
    sequence: { sequencer: LongestFirst },
    globalSetup: ['test/support/postgres-cluster.ts'],
    reporters: process.env.CI === 'true' ? ['default', new ReporterWithCauses({ outputFile })] : ['default'],
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts', 'jobs/**/*.ts'],
      reportsDirectory: 'coverage',
      thresholds: Object.fromEntries(
        ['ledger', 'payments', 'inbox', 'outgoing'].map((room) => [`src/${room}/**`, { branches: 95 }]),
      ),
    },
  },
});
