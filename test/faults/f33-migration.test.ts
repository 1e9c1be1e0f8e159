import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { ROOT } from '../support/cli.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { startProcess } from '../support/process.ts';
import { dumpSchema } from '../support/schema-dump.ts';
import { StatementProxy } from '../support/statement-proxy.ts';

const logger = createLogger('silent', 'test');

describe('a migration of an empty database', () => {
  let complete: readonly string[];
  let proxy: StatementProxy;

  const newDatabase = () => createTestDatabase(2, 'template1');
  const expectComplete = async (database: TestDatabase) =>
    expect(await dumpSchema(autocommit(database.pool))).toEqual(complete);
  /** The database behind the proxy, by its owner. */
  const through = ({ ownerUrl }: TestDatabase) => {
    const url = new URL(ownerUrl);
    url.host = new URL(proxy.url).host;
    return url.href;
  };

  beforeAll(async () => {
    const migrated = await createTestDatabase(2);
    complete = await dumpSchema(autocommit(migrated.pool));
    proxy = await StatementProxy.start(migrated.ownerUrl);
    await migrated.drop();
  });

  afterAll(() => proxy.close());

  it('that is killed with -9, again and again and each time later, is complete in the end', async () => {
    const database = await newDatabase();
    let kills = 0;
    for (let k = 2; ; k += 5) {
      const killed = Promise.withResolvers<void>();
      const process = startProcess('src/commands/migrate.ts', { DATABASE_URL: through(database) });
      const armed = proxy.arm(k, {
        when: k % 2 === 0 ? 'before' : 'after',
        connection: 'cut',
        meanwhile: async () => {
          await process.end('SIGKILL');
          killed.resolve();
        },
      });
      const exit = await process.exited;
      armed.disarm();
      if (armed.hit === null) {
        expect(exit).toBe(0);
        break;
      }
      await killed.promise;
      expect(exit).toBe('SIGKILL');
      kills += 1;
    }
    console.log(`migrate, killed: ${kills} points`);
    expect(kills).toBeGreaterThan(4);
    await expectComplete(database);
    await database.drop();
  }, 120_000);

  it('by several processes at once is done by one of them, and the others find nothing to do', async () => {
    const database = await newDatabase();
    const processes = Array.from({ length: 3 }, () =>
      startProcess('src/commands/migrate.ts', { DATABASE_URL: database.ownerUrl }),
    );
    expect(await Promise.all(processes.map((process) => process.exited))).toEqual([0, 0, 0]);
    // Before its last line, the one that does it logs which indexes it builds.
    const outputs = processes.map((process) => process.output().trim().split('\n').at(-1)).sort();
    expect(outputs).toEqual([
      expect.stringMatching(/^Applied 0001_merchants-and-customers, /),
      'The database is up to date.',
      'The database is up to date.',
    ]);
    await expectComplete(database);
    await database.drop();
  }, 60_000);

  it('has to come first: web and worker refuse a database without its tables, and say so', async () => {
    const database = await newDatabase();
    for (const script of ['src/web.ts', 'jobs/worker.ts']) {
      const early = startProcess(script, { DATABASE_URL: database.ownerUrl, PORT: '0' });
      expect(await early.exited).toBe(1);
      expect(early.output()).toMatch(/schema_migration is not there.*run npm run migrate/);
    }
    await database.drop();
  }, 60_000);
});

/**
 * What a next release may want of the tables that are written all the time; each is wanted for itself for a moment. They
 * are taken in the order in which a posting takes them (event, wallet, entry), or the two would deadlock again and again.
 */
const NEXT_RELEASE: Readonly<Record<string, string>> = {
  '9001_columns': `
    alter table provider_event add column priority integer not null default 0;
    alter table wallet add column tier text not null default 'basic';
    alter table entry add column note text;`,
  '9002_index': 'create index entry_by_reference on entry (merchant_id, reference_object_id);',
  '9003_table': `
    create table later (merchant_id text primary key references merchant);
    alter table payment add constraint payment_of_something check (payment_id <> '') not valid;`,
  '9004_columns-go': 'alter table wallet drop column tier; alter table entry drop column note;',
};

describe('the migration to a next release under web and worker that are busy', () => {
  let rig: FaultRig;
  let dir: string;

  beforeAll(async () => {
    rig = await FaultRig.start();
    dir = await mkdtemp(join(tmpdir(), 'chokin-migrations-'));
    await cp(join(ROOT, 'migrations'), dir, { recursive: true });
    await Promise.all([rig.startWeb(), rig.startWorker()]);
  });

  afterAll(async () => {
    await rig.close();
    await rm(dir, { recursive: true, force: true });
  });

  /** Payments and debits, several at a time, until it is told to stop; how many, and the longest any of them took. */
  function keepBusy(customers: readonly string[]): { stop(): Promise<{ done: number; longestMs: number }> } {
    let isOver = false;
    let [done, longestMs] = [0, 0];
    const callers = customers.map(async (customerId) => {
      while (!isOver) {
        const startedMs = performance.now();
        await Promise.all([
          rig.traffic.deliver(paymentEvent(customerId, 3)),
          rig.traffic.debit(newDebit(customerId, 1)),
        ]);
        longestMs = Math.max(longestMs, performance.now() - startedMs);
        done += 2;
      }
    });
    return {
      stop: async () => {
        isOver = true;
        await Promise.all(callers);
        return { done, longestMs };
      },
    };
  }

  /** While an audit of large books reads the ledger for longer than a migration may wait for it. */
  async function behindReader<T>(work: () => Promise<T>): Promise<T> {
    const reader = await rig.database.pool.connect();
    try {
      await reader.query('begin');
      await reader.query('select count(*) from entry');
      const working = work();
      await reader.query('select pg_sleep(2.5)');
      await reader.query('commit');
      return await working;
    } finally {
      reader.release();
    }
  }

  it('turns nobody away and loses nothing, also behind somebody who reads the ledger for a long time', async () => {
    const customers = await Promise.all(Array.from({ length: 6 }, () => rig.traffic.newCustomer(100_000)));
    const busy = keepBusy(customers);
    try {
      for (const [name, sql] of Object.entries(NEXT_RELEASE)) {
        await writeFile(join(dir, `${name}.sql`), sql);
        expect(await behindReader(() => migrate(rig.database.ownerUrl, logger, { dir }))).toEqual([name]);
      }
    } finally {
      await busy.stop();
    }
    const { done, longestMs } = await busy.stop();
    console.log(
      `migrate under load: ${done} requests, the longest ${Math.round(longestMs)} ms, turned away ${rig.traffic.troubles.length}`,
    );
    expect(done).toBeGreaterThan(200);
    expect(rig.traffic.troubles).toEqual([]);
    await rig.expectAllWell();
  }, 120_000);

  it('that cannot be done changes nothing, and leaves the service as it was', async () => {
    const customerId = await rig.traffic.newCustomer();
    await writeFile(join(dir, '9005_fails.sql'), 'alter table wallet add column gone text; select 1 / 0;');
    await expect(migrate(rig.database.ownerUrl, logger, { dir })).rejects.toThrow('division by zero');
    const { rowCount } = await rig.database.pool.query(
      "select 1 from information_schema.columns where table_name = 'wallet' and column_name = 'gone'",
    );
    expect(rowCount).toBe(0);
    await rig.traffic.deliver(paymentEvent(customerId, 700));
    await rig.expectAllWell();
  }, 60_000);
});
