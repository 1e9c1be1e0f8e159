import type { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createBoss } from '../../src/db/boss.ts';
import { keptOfBoss } from '../../src/db/boss-statements.ts';
import { BOUNDED_FETCH, completeJobs, keepClaim } from '../../src/db/queues.ts';
import { transaction } from '../../src/db/transaction.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

/* pg-boss' own texts may change with each of its releases, so that nothing would have a name any more, or another plan be kept. */

const BUSY = ['apply-provider-events', 'apply-provider-event', 'announce-balance-changes', 'deliver-webhook'] as const;
const FETCH = { batchSize: 10, includeMetadata: true, ...BOUNDED_FETCH } as const;

let database: TestDatabase;
let boss: PgBoss;

beforeAll(async () => {
  database = await createTestDatabase();
  const ways = { databaseUrl: database.workerUrl, directUrl: database.directUrl, applicationName: 'test-boss' };
  boss = createBoss({ ...ways, maxConnections: 1, works: false, logger: createLogger('silent', 'test') });
  await boss.start();
});

afterAll(async () => {
  await boss.stop({ graceful: false });
  await database.drop();
});

const prepared = z.array(z.object({ name: z.string(), statement: z.string(), count: z.number() }));
const PREPARED = `
  select name, statement, cardinality(parameter_types)::integer as count from pg_prepared_statements where name like 'boss-%'`;
const plans = z.array(z.object({ 'QUERY PLAN': z.string() }));

/** What a worker of a busy queue has pg-boss do. */
async function work(queue: (typeof BUSY)[number]): Promise<void> {
  await boss.insert(queue, [{ data: {} }]);
  const claimed = await boss.fetch(queue, FETCH);
  expect(claimed).toHaveLength(1);
  const jobs = claimed.map(({ id, retryCount }) => ({ id, retryCount }));
  await boss.touch(queue, jobs);
  await boss.complete(queue, jobs);
}

describe('the frequent statements of pg-boss', () => {
  it('have names, and go by the ids of jobs, though they are planned while there are none', async () => {
    for (const queue of BUSY) await work(queue);
    const db = boss.getDb();
    const known = prepared.parse((await db.executeSql(PREPARED)).rows);
    // An insert and a claim of each queue, and what is said of claims.
    expect(known).toHaveLength(2 * BUSY.length + 2);
    await db.executeSql('set plan_cache_mode = force_generic_plan');
    for (const { name, count } of known) {
      const values = Array.from({ length: count }, () => 'null').join(', ');
      const text = `explain (costs off) execute "${name}"${count === 0 ? '' : ` (${values})`}`;
      const lines = plans.parse((await db.executeSql(text)).rows).map((row) => row['QUERY PLAN']);
      expect(lines.filter((line) => line.includes('Join Filter') || line.includes('Seq Scan'))).toEqual([]);
      const byKey = lines.flatMap((line, index) => (line.includes('job_common_pkey') ? [lines[index + 1]] : []));
      for (const condition of byKey) expect(condition).toMatch(/Index Cond: \(\(name = .* AND \(id = /);
    }
  });

  it('have names in our transactions too, each connection its own plans', async () => {
    const [queue] = BUSY;
    await boss.insert(queue, [{ data: {} }]);
    const jobs = (await boss.fetch(queue, FETCH)).map(({ id, retryCount }) => ({ id, retryCount }));
    const names = await transaction(database.pool, async (tx) => {
      for (const job of jobs) await keepClaim(boss, tx, { name: queue, job });
      await completeJobs(boss, tx, { name: queue, jobs });
      return prepared.parse((await tx.query(PREPARED)).rows).map(({ statement }) => /set \w+/i.exec(statement)?.[0]);
    });
    expect(names.sort()).toEqual(['SET completed_on', 'SET heartbeat_on']);
  });

  it('are few: what runs seldom has none, and no more than a connection can keep', () => {
    expect(keptOfBoss('select version()')).toBe('select version()');
    const texts = Array.from({ length: 200 }, (_, batch) => `select 'apply-provider-events' as name limit ${batch}`);
    const named = texts.map(keptOfBoss).filter((statement) => typeof statement !== 'string');
    expect(named.length).toBeGreaterThan(0);
    expect(named.length).toBeLessThan(50);
    expect(texts.map(keptOfBoss).filter((statement) => typeof statement !== 'string')).toEqual(named);
  });
});
