import { defineConfig } from 'vitest/config';

const isAllFaults = process.env.FAULTS === 'all';
const outputFile = `coverage/${process.env.REPORT ?? (isAllFaults ? 'faults' : 'test')}-report.json`;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Minutes of killing and restarting: `npm run test:faults` has them.
    exclude: ['**/node_modules/**', ...(isAllFaults ? [] : ['test/faults/slow/**'])],
    globalSetup: ['test/support/postgres-cluster.ts'],
    pool: 'forks',
    // Each file has a database and, some of them, servers and child processes of its own. They wait more than they compute:
    // on two cores, four at a time take two thirds of the time of two. The slow faults have deadlines, which four would miss.
    maxWorkers: isAllFaults ? 3 : 4,
    // Generous, for a busy machine: what must be quick says so itself.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    // A retry would hide a race, which is what many of these tests are for. CI runs a failed file once more and says so.
    retry: 0,
    reporters: process.env.CI === 'true' ? ['default', ['json', { outputFile }]] : ['default'],
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
