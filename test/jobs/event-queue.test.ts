import type { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { workSharedEvents } from '../../jobs/event-queue.ts';
import { createBoss } from '../../src/db/boss.ts';
import type { ApplyResult } from '../../src/inbox/apply-jobs.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/wait.ts';

let database: TestDatabase;
let boss: PgBoss;
const logger = createLogger('silent', 'test');

beforeAll(async () => {
  database = await createTestDatabase();
  const ways = { databaseUrl: database.workerUrl, directUrl: database.directUrl, applicationName: 'test-boss' };
  boss = createBoss({ ...ways, maxConnections: 3, works: false, logger });
  await boss.start();
});

afterAll(async () => {
  await boss.stop({ graceful: false });
  await database.drop();
});

interface Claim {
  readonly id: string;
  readonly of: string;
}

const ofPayload = (data: unknown): string =>
  typeof data === 'object' && data !== null && 'of' in data ? String(data.of) : 'nobody';

it('a job of many events is done only if that is said of it: what fails, cannot be read or is not spoken of is tried again', async () => {
  const name = 'apply-provider-events';
  const jobs = ['done', 'failed', 'unreadable', 'forgotten'].map((of) => ({ data: { of } }));
  await boss.insert(name, jobs);
  await workSharedEvents<Claim>(boss, logger, {
    name,
    batchSize: 25,
    claimOf: ({ id, data }) => (ofPayload(data) === 'unreadable' ? null : { id, of: ofPayload(data) }),
    apply: async (claims) =>
      claims.flatMap(({ id, of }): ApplyResult[] => {
        if (of === 'forgotten') return [];
        return [of === 'done' ? { id, status: 'completed' } : { id, status: 'failed', output: { error: 'held' } }];
      }),
  });
  const settled = await eventually('all of them to be settled', async () => {
    const { rows } = await database.pool.query<{ of: string; state: string; output: unknown }>(
      "select data ->> 'of' as of, state::text, output from pgboss.job where name = $1 order by 1",
      [name],
    );
    return rows.every(({ state }) => state === 'completed' || state === 'retry') && rows;
  });
  expect(settled).toEqual([
    { of: 'done', state: 'completed', output: null },
    { of: 'failed', state: 'retry', output: { error: 'held' } },
    { of: 'forgotten', state: 'retry', output: null },
    { of: 'unreadable', state: 'retry', output: { error: 'unreadable payload' } },
  ]);
});
