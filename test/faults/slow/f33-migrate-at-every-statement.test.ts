import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrate } from '../../../src/commands/migrate.ts';
import { autocommit } from '../../../src/db/transaction.ts';
import { createLogger } from '../../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { drawnPoints } from '../../support/rounds.ts';
import { dumpSchema } from '../../support/schema-dump.ts';
import { atEveryStatement, StatementProxy, type UnderFault } from '../../support/statement-proxy.ts';

/**
 * A migration has hundreds of statements, and every release more of them: one of eight is tried, from a first one that is drawn
 * (SEED repeats it), and all of them by `npm run test:all`.
 */
const POINTS = drawnPoints(8);

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
    const attempt = async (underFault: UnderFault) => {
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
    };
    const hits = await atEveryStatement(proxy, fault, () => true, attempt, POINTS);
    console.log(
      `a migration, cut ${when} a statement: ${hits.length} points, every ${POINTS.step}. from ${POINTS.first} (SEED=${POINTS.first - 1})`,
    );
    expect(hits.length * POINTS.step).toBeGreaterThan(80);
  },
  900_000,
);
