import { defineConfig } from 'vitest/config';

/** For `npm run test:stripe-mock` and `npm run test:prism`: what they run against is not brought by `npm ci`. */
export default defineConfig({
  test: {
    include: ['test/real-apis/**/*.real.ts'],
    globalSetup: ['test/support/postgres-cluster.ts'],
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
    retry: 0,
  },
});
