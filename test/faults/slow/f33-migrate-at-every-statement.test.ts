import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrate } from '../../../src/commands/migrate.ts';
import { autocommit } from '../../../src/db/transaction.ts';
import { createLogger } from '../../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { dumpSchema } from '../../support/schema-dump.ts';
import { atEveryStatement, StatementProxy } from '../../support/statement-proxy.ts';

const logger = createLogger('silent', 'test');

let complete: readonly string[];
let proxy: StatementProxy;

beforeAll(async () => {
  const migrated = await createTestDatabase(2);
  complete = await dumpSchema(autocommit(migrated.pool));
  proxy = await StatementProxy.start(migrated.ownerUrl);
  await migrated.drop();
});

afterAll(() => proxy.close());

const expectComplete = async (database: TestDatabase) =>
  expect(await dumpSchema(autocommit(database.pool))).toEqual(complete);

function throughProxy({ ownerUrl }: TestDatabase): string {
  const url = new URL(ownerUrl);
  url.host = new URL(proxy.url).host;
  return url.href;
}

it.each(['before', 'after'] as const)(
  'a migration of an empty database that loses its connection %s any of its statements goes on when it is run again',
  async (when) => {
    const fault = { when, connection: 'cut' } as const;
    const always = () => true;
    const hits = await atEveryStatement(proxy, fault, always, async (underFault) => {
      const database = await createTestDatabase(2, 'template1');
      const migrating = () =>
        migrate(throughProxy(database), logger).then(
          () => 'done',
          () => 'failed',
        );
      const { result } = await underFault(migrating);
      // What pg-boss does besides may fail without harm: asking for the server's version, looking after its queues.
      if (result === 'done') await expectComplete(database);
      await migrate(database.ownerUrl, logger);
      await expectComplete(database);
      await database.drop();
    });
    console.log(`a migration, cut ${when} a statement: ${hits.length} points`);
    expect(hits.length).toBeGreaterThan(80);
  },
  300_000,
);
