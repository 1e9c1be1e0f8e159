import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { type RecoverySender, workOnRecoveries } from '../../src/outgoing/recovery/recover.ts';
import { insertRecovery } from '../../src/outgoing/recovery/store.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { lookForDisabled } from '../../src/outgoing/svix/watch.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

/** Aims at what the trouble of some merchants does to the jobs about everybody's endpoints. */

const logger = createLogger('silent', 'test');
const { signal } = new AbortController();
const MERCHANTS = Array.from({ length: 9 }, (_, index) => `mer_${index}`);

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.pool.query(
    "insert into merchant (merchant_id, name, mode) select id, id, 'test' from unnest($1::text[]) id",
    [MERCHANTS],
  );
  await database.pool.query(
    "create function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$",
  );
});
afterEach(() => void vi.restoreAllMocks());
afterAll(() => database.drop());

it('a recovery that cannot be claimed is tried once in a run, not before each page of the others', async () => {
  const db = autocommit(database.pool);
  const now = systemClock.now();
  const window = { endpointId: 'ep', since: new Date(now.getTime() - 60_000), until: now };
  for (const [merchantId, recoveryId] of [
    ['mer_0', 'rec_broken'],
    ['mer_1', 'rec_well'],
  ] as const)
    await insertRecovery(db, { ...window, merchantId, recoveryId }, { now, waitSeconds: 0 });
  await database.pool.query(`
    create trigger refuse before update on webhook_recovery for each row
    when (old.recovery_id = 'rec_broken') execute function refuse()`);
  const endpoint: Awaited<ReturnType<RecoverySender['endpoint']>> = {
    ...{ id: 'ep', url: 'https://example.com', description: '', disabled: false },
    ...{ eventTypes: ['wallet.created'], headerNames: [], createdAt: now, updatedAt: now },
  };
  let pages = 0;
  const recoverySender: RecoverySender = {
    endpoint: async () => endpoint,
    sendKept: async () => {
      pages += 1;
      return { kind: 'done', place: pages < 5 ? `page ${pages}` : null, resent: 1 };
    },
    findKnown: () => async () => [],
    sendMissed: () => Promise.reject(new Error('nothing is missed')),
  };
  const warn = vi.spyOn(logger, 'warn');
  const services = { pool: database.pool, recoverySender, clock: systemClock, logger };
  await expect(workOnRecoveries(services, signal)).rejects.toThrow('refused');
  expect(warn.mock.calls.map(([, message]) => message)).toEqual(['a recovery could not be claimed']);
  const { rows } = await database.pool.query('select recovery_id, state, resent from webhook_recovery order by 1');
  expect(rows).toEqual([
    { recovery_id: 'rec_broken', state: 'running', resent: 0 },
    { recovery_id: 'rec_well', state: 'finished', resent: 5 },
  ]);
});

it('merchants whose own rows cannot be written are not taken for a Svix that does not answer', async () => {
  await database.pool.query(
    `insert into svix_merchant (merchant_id, looked_at)
     select id, now() - interval '2 hours' + place * interval '1 minute' from unnest($1::text[]) with ordinality t (id, place)`,
    [MERCHANTS],
  );
  await database.pool.query(`
    create trigger refuse before insert on svix_endpoint for each row
    when (new.merchant_id <> 'mer_8') execute function refuse()`);
  const asked: string[] = [];
  const account: SvixAccount = Object.assign(Object.create(SvixAccount.prototype), {
    call: async (merchantId: string) => {
      asked.push(merchantId);
      return { ok: true, value: [{ id: `ep_of_${merchantId}`, description: '', disabled: false }] };
    },
  });
  const looking = lookForDisabled({ pool: database.pool, account, clock: systemClock, logger }, signal);
  await expect(looking).rejects.toThrow('refused');
  expect(asked.toSorted()).toEqual(MERCHANTS);
  const { rows } = await database.pool.query('select merchant_id from svix_endpoint');
  expect(rows).toEqual([{ merchant_id: 'mer_8' }]);
});
