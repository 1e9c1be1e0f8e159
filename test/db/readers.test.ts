import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { Readers, ReadersBusyError, type ReadersOptions, ReadTooSlowError } from '../../src/db/readers.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  const logger = createLogger('silent', 'test');
  pool = createPool({ databaseUrl: database.webUrl, applicationName: 'test', maxConnections: 2, logger });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

const readers = (options: Partial<ReadersOptions> = {}) =>
  new Readers({
    pool,
    who: 'merchant',
    atOnce: 2,
    atOnceEach: 1,
    waitingEach: 3,
    turnMs: 200,
    patienceMs: 30_000,
    ...options,
  });

/** Reads of `owners`, which end one by one when they are let; `begun` notes the order in which they began. */
function readAll(from: Readers, owners: readonly string[]) {
  const begun: string[] = [];
  const open: (() => void)[] = [];
  const results = owners.map((owner) =>
    from.read(owner, () => {
      begun.push(owner);
      return new Promise<void>((resolve) => open.push(resolve));
    }),
  );
  const endAll = async () => {
    const ended = Promise.allSettled(results);
    let isOver = false;
    ended.then(() => {
      isOver = true;
    });
    while (!isOver) {
      open.shift()?.();
      await new Promise(setImmediate);
    }
    return ended;
  };
  return { begun, endAll };
}

describe('reading in turn', () => {
  it('leaves a connection to whoever comes while one owner floods, and serves owners by turns', async () => {
    const { begun, endAll } = readAll(readers({ waitingEach: 10 }), ['a', 'a', 'a', 'a', 'b', 'b', 'c']);
    await new Promise(setImmediate);
    expect(begun).toEqual(['a', 'b']);
    await endAll();
    expect(begun.slice(0, 5).sort()).toEqual(['a', 'a', 'b', 'b', 'c']);
    expect(begun).toHaveLength(7);
  });

  it('refuses what is beyond the share of one owner alone', async () => {
    const { endAll } = readAll(readers(), ['a', 'a', 'a', 'a', 'a', 'b']);
    const outcomes = await endAll();
    expect(outcomes.map((one) => (one.status === 'rejected' ? one.reason : 'read'))).toEqual([
      ...['read', 'read', 'read', 'read'],
      new ReadersBusyError({ who: 'merchant', owner: 'a' }),
      'read',
    ]);
  });

  it('lets nobody wait for longer than it may, and serves those who still wait', async () => {
    const some = readers({ atOnce: 1, patienceMs: 20 });
    let end = () => {};
    const first = some.read('a', () => new Promise<void>((resolve) => (end = resolve)));
    await expect(some.read('b', async () => 'read')).rejects.toEqual(
      new ReadersBusyError({ who: 'merchant', owner: 'b' }),
    );
    const last = some.read('c', async () => 'read');
    end();
    await first;
    expect(await last).toBe('read');
    expect(await some.read('b', async () => 'read')).toBe('read');
  });

  it('gives the turn on after a failure, and says which statement took too long', async () => {
    const some = readers({ atOnce: 1 });
    await expect(some.read('a', () => Promise.reject(new Error('other')))).rejects.toThrow('other');
    await expect(some.read('a', (db) => db.query('select pg_sleep(5)'))).rejects.toBeInstanceOf(ReadTooSlowError);
    expect((await some.read('b', (db) => db.query('select 1 as one'))).rows).toEqual([{ one: 1 }]);
  });

  it('ends a turn of many statements when its time is over, and lets whoever waits read before it gives up', async () => {
    const some = readers({ atOnce: 1, turnMs: 500, patienceMs: 5_000 });
    let begun = 0;
    const hostile = some.read('a', async (db) => {
      for (; begun < 100; begun += 1) await db.query('select pg_sleep(0.2)');
    });
    const honest = some.read('b', async (db) => (await db.query('select 1 as one')).rows);
    await expect(hostile).rejects.toBeInstanceOf(ReadTooSlowError);
    expect(begun).toBeLessThanOrEqual(2);
    expect(await honest).toEqual([{ one: 1 }]);
  });

  it('gives each turn all of its time, whatever the one before had left', async () => {
    const some = readers({ atOnce: 1, turnMs: 400 });
    const slow = some.read('a', async (db) => {
      for (;;) await db.query('select pg_sleep(0.15)');
    });
    await expect(slow).rejects.toBeInstanceOf(ReadTooSlowError);
    await expect(some.read('b', (db) => db.query('select pg_sleep(0.2)'))).resolves.toBeDefined();
  });
});
