import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { OutcomeUnknownError } from '../../src/db/sqlstate.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { InvariantError } from '../../src/errors.ts';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import type { HoldChanges } from '../../src/ledger/book-changes.ts';
import { LotOwners } from '../../src/ledger/lots/owners.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import { postBatch, readWallets, write } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { type ProxiedStatement, StatementProxy } from '../support/statement-proxy.ts';

/** Statements that leave before the ones in front of them are answered, up to COMMIT: whatever is lost on the way, no failure passes for a success. */

let database: TestDatabase;
let proxy: StatementProxy;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  await database.pool.query('create table note (id integer primary key)');
  await database.pool.query('grant all on note to public');
  await makeCustomers(database.pool, ['a', 'b', 'c']);
  proxy = await StatementProxy.start(database.url);
  const logger = createLogger('silent', 'test');
  pool = createPool({ databaseUrl: proxy.url, applicationName: 'pipelined', maxConnections: 2, logger });
});
beforeEach(() => database.pool.query('truncate note'));
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await pool.end();
  await proxy.close();
  await database.drop();
});

const notes = async () => (await database.pool.query<{ id: number }>('select id from note order by id')).rows;
const now = () => ({ ...SETTINGS, now: new Date() });
const credit = (key: string) => posting({ customerId: 'cus_a', amountMinor: 5, idempotencyKey: key });
const entriesUnder = async (key: string) =>
  (await database.pool.query('select 1 from entry where idempotency_key = $1', [key])).rowCount;
const isOfOurs = ({ applicationName, sql }: ProxiedStatement) =>
  applicationName === 'pipelined' && !sql.includes('set_config');
const isWrite = ({ sql }: ProxiedStatement) => sql.includes('insert into entry');
const isCommit = ({ sql }: ProxiedStatement) => sql === 'commit';

/** Holds the answer to the statement that `at` names until one that `until` names was sent. */
function holdAnswer(at: (statement: ProxiedStatement) => boolean, until: (statement: ProxiedStatement) => boolean) {
  const sent = Promise.withResolvers<void>();
  return proxy.inject((statement) => {
    if (until(statement)) sent.resolve();
    return at(statement) ? { when: 'after', connection: 'kept', meanwhile: () => sent.promise } : null;
  });
}

/** @returns the first line of each statement that was sent. Each answer waits for the last of its round trip: for ever, if that waited for the answer. */
async function inTwoRoundTrips(command: LedgerCommand, moment = now(), last = 'cross join lateral') {
  const order: string[] = [];
  const watch = proxy.inject((statement) => {
    if (isOfOurs(statement)) order.push(statement.sql.trim().split('\n')[0] ?? '');
    return null;
  });
  const undo = [
    watch,
    holdAnswer(
      ({ sql }) => sql === 'begin',
      ({ sql }) => sql.includes(last),
    ),
    holdAnswer(isWrite, isCommit),
  ];
  const [result] = await transaction(pool, (tx) => postBatch(tx, [command], moment));
  for (const one of undo) one();
  return { order, result };
}

it('a debit takes two round trips: BEGIN, lock and look-up go together, and so do the write and COMMIT', async () => {
  const { order, result } = await inTwoRoundTrips(credit('trips'));
  expect(result).toMatchObject({ kind: 'created' });
  expect(order).toEqual([
    'begin',
    expect.stringContaining('select w.'),
    expect.stringContaining('select e.'),
    'with written as (',
    'commit',
  ]);
});

it('so does a hold that is placed or captured', async () => {
  const own = { merchantId: MERCHANT, customerId: 'cus_b', currency: 'USD' };
  const rest = { reason: null, metadata: null };
  await transaction(pool, (tx) => postBatch(tx, [{ ...credit('held'), ...own, amountMinor: 10_000 }], now()));
  const placed = await inTwoRoundTrips({
    ...{ op: 'place', ...own, ...rest, amountMinor: 3, partial: false, expiresInSeconds: 900, referenceObjectId: null },
    idempotencyKey: 'api:trips',
  });
  expect(placed.result).toMatchObject({ kind: 'placed' });
  const captured = await inTwoRoundTrips({
    ...{
      op: 'capture',
      ...own,
      ...rest,
      holdNo: 1,
      amountMinor: null,
      isFinal: true,
      beyond: 'refuse',
      late: 'refuse',
    },
    idempotencyKey: null,
  });
  expect(captured.result).toMatchObject({ kind: 'captured' });
  const looked = ['begin', expect.stringContaining('select w.'), expect.stringContaining('select h.')];
  expect(placed.order).toEqual([...looked, 'with moved as (', 'commit']);
  expect(captured.order).toEqual([...looked, 'with written as (', 'commit']);
});

it('a debit leaves in two writes to the socket, each with all of its round trip', async () => {
  const client = await pool.connect();
  const { connection } = client as unknown as { connection: { stream: Required<Pick<Duplex, '_writev'>> & Duplex } };
  const { stream } = connection;
  client.release();
  await transaction(pool, (tx) => postBatch(tx, [credit('before the writes are counted')], now()));
  const writes: number[] = [];
  const writev = stream._writev.bind(stream);
  stream._writev = (chunks, done) => {
    writes.push(chunks.length);
    writev(chunks, done);
  };
  const alone = vi.spyOn(stream, '_write');
  await transaction(pool, (tx) => postBatch(tx, [credit('two writes')], now()));
  // Of the statements but BEGIN and COMMIT, each is four messages: bind, describe, execute, sync.
  expect(writes).toEqual([1 + 4 + 4, 4 + 1]);
  expect(alone).not.toHaveBeenCalled();
  stream._writev = writev;
  alone.mockRestore();
});

it('plans the statements of a debit once, and not for each batch anew', async () => {
  const one = createPool({
    ...{ databaseUrl: database.url, applicationName: 'plans', maxConnections: 1 },
    logger: createLogger('silent', 'test'),
  });
  const ledger = new LedgerBatches({ pool: one, settings: SETTINGS, clock: systemClock, onPosted: () => {} });
  // For a list of one, Postgres by itself would choose a plan made for that list each time.
  for (let debit = 0; debit < 12; debit += 1) await ledger.post(credit(`planned ${debit}`));
  const { rows } = await one.query<{ generic: number; custom: number }>(
    `select generic_plans as generic, custom_plans as custom from pg_prepared_statements
     where name in ('lock-wallets', 'find-entries-by-keys', 'write-postings')`,
  );
  expect(rows).toEqual(Array.from({ length: 3 }, () => ({ generic: 12, custom: 0 })));
  const after = await one.query('show plan_cache_mode');
  expect(after.rows).toEqual([{ plan_cache_mode: 'auto' }]);
  await one.end();
});

it('so does a debit that draws on lots, once its wallet was seen to have some', async () => {
  const lotOwners = new LotOwners();
  const own = { merchantId: MERCHANT, customerId: 'cus_c', currency: 'USD', amountMinor: 10_000 };
  const terms = { kind: 'promo', name: null, priority: 50, end: null } as const;
  await transaction(pool, (tx) => postBatch(tx, [{ ...posting(own), terms }], { ...now(), lotOwners }));
  const debit = posting({ ...own, amountMinor: 1, isCredit: false });
  await transaction(pool, (tx) => postBatch(tx, [debit], { ...now(), lotOwners }));
  const { order, result } = await inTwoRoundTrips(debit, { ...now(), lotOwners }, 'from lot x');
  expect(result).toMatchObject({ kind: 'created', wallet: { inLots: 9_998 } });
  expect(order).toEqual([
    'begin',
    expect.stringContaining('select w.'),
    expect.stringContaining('select h.'),
    'with written as (',
    'commit',
  ]);
});

it.each([
  ['before the server had it', 'before' as const, 0],
  ['after it was carried out, and COMMIT behind it', 'after' as const, 1],
])('does not know its outcome where the connection is lost at the write, %s', async (what, when, kept) => {
  const key = `lost ${what}`;
  const committed = async () => {
    // The proxy holds the write's answer; the server goes on to COMMIT meanwhile.
    while (when === 'after' && (await entriesUnder(key)) === 0) await new Promise(setImmediate);
  };
  const undo = proxy.inject((statement) =>
    isWrite(statement) ? { when, connection: 'cut', meanwhile: committed } : null,
  );
  const lost: unknown = await transaction(pool, (tx) => postBatch(tx, [credit(key)], now())).catch(
    (error: unknown) => error,
  );
  undo();
  expect(lost).toBeInstanceOf(OutcomeUnknownError);
  expect(await entriesUnder(key)).toBe(kept);
  const [again] = await transaction(pool, (tx) => postBatch(tx, [credit(key)], now()));
  expect(again?.kind).toBe(kept === 1 ? 'repeated' : 'created');
  expect(await entriesUnder(key)).toBe(1);
});

it('throws what the write threw, and keeps nothing, although COMMIT is answered', async () => {
  const undo = proxy.inject((statement) =>
    isWrite(statement) ? { when: 'before', connection: 'kept', raises: '23514' } : null,
  );
  await expect(transaction(pool, (tx) => postBatch(tx, [credit('refused')], now()))).rejects.toMatchObject({
    code: '23514',
  });
  undo();
  expect(await entriesUnder('refused')).toBe(0);
});

it.each(['40P01', '40001'])('runs again where the write lost a race: %s', async (raises) => {
  const armed = proxy.arm(1, { when: 'before', connection: 'kept', raises }, isWrite);
  const [result] = await transaction(pool, (tx) => postBatch(tx, [credit(`race ${raises}`)], now()));
  expect(armed.hit).not.toBeNull();
  expect(result?.kind).toBe('created');
});

it('throws the first failure, not that of the statements that met it', async () => {
  const failing = transaction(pool, async (tx) => {
    tx.withoutWaiting(tx.query('insert into note values (1), (1)'));
    await tx.query('insert into note values (2)');
  });
  await expect(failing).rejects.toMatchObject({ code: '23505' });
  const swallowing = transaction(pool, async (tx) => {
    tx.withoutWaiting(tx.query('insert into note values (1), (1)'));
    await tx.query('insert into note values (2)').catch(() => {});
  });
  await expect(swallowing).rejects.toMatchObject({ code: '23505' });
  expect(await notes()).toEqual([]);
});

it('undoes with a savepoint what failed in it and nobody waited for, and nothing that came before', async () => {
  let thrown: unknown;
  await transaction(pool, async (tx) => {
    tx.withoutWaiting(tx.query('insert into note values (1)'));
    await tx
      .savepoint(async () => tx.withoutWaiting(tx.query('insert into note values (1)')))
      .catch((error: unknown) => {
        thrown = error;
      });
    tx.withoutWaiting(tx.query('insert into note values (3)'));
  });
  expect(thrown).toMatchObject({ code: '23505' });
  expect(await notes()).toEqual([{ id: 1 }, { id: 3 }]);
});

it('does not begin a savepoint behind a failure that nobody waited for, whose undoing would hide it', async () => {
  const failing = transaction(pool, async (tx) => {
    tx.withoutWaiting(tx.query('insert into note values (1), (1)'));
    await tx.savepoint(() => tx.query('insert into note values (2)')).catch(() => {});
  });
  await expect(failing).rejects.toThrow();
  expect(await notes()).toEqual([]);
});

it('sends nothing that writes where BEGIN failed, and hears of nothing that reads', async () => {
  const sent: string[] = [];
  const watch = proxy.inject((statement) => {
    if (!isOfOurs(statement)) return null;
    sent.push(statement.sql);
    return statement.sql === 'begin' ? { when: 'before', connection: 'kept', raises: '53200' } : null;
  });
  const reading = transaction(pool, (tx) => tx.query('select 1'));
  await expect(reading).rejects.toMatchObject({ code: '53200' });
  const writing = transaction(pool, async (tx) => {
    await tx.query('select 1').catch(() => {});
    await tx.query('insert into note values (1)').catch(() => {});
    await tx.savepoint(() => tx.query('insert into note values (2)')).catch(() => {});
  });
  await expect(writing).rejects.toMatchObject({ code: '53200' });
  // As pg-boss writes it: jobs that are completed, and then made anew.
  const ofQueue = transaction(pool, (tx) => tx.query('INSERT INTO note VALUES (3)'));
  await expect(ofQueue).rejects.toMatchObject({ code: '53200' });
  watch();
  expect(sent.filter((sql) => sql.includes('note') || sql === 'commit')).toEqual([]);
  expect(await notes()).toEqual([]);
});

it('commits nothing where a statement that nobody waited for failed before it was sent', async () => {
  const [wallet] = await readWallets(autocommit(database.pool), 'bus_default', ['cus_b']);
  if (wallet === undefined) throw new Error('no wallet');
  const rest = { entries: [], alerts: [], holds: null, lots: null, statuses: [], checkouts: [] };
  const writing = transaction(pool, async (tx) => {
    await tx.query('insert into note values (1)');
    await write(tx, { wallets: [{ ...wallet, updatedAt: new Date(Number.NaN) }], ...rest });
  });
  await expect(writing).rejects.toThrow(InvariantError);
  expect(await notes()).toEqual([]);
});

const NOTHING_HELD: HoldChanges = {
  ...{
    arePlaced: true,
    open: [],
    closed: [],
    isPlaced: () => true,
    captures: [],
    due: [],
    fallen: [],
    quiet: new Set(),
  },
};

it.each([null, NOTHING_HELD])('fails rather than write less than it was given', async (holds) => {
  const [wallet] = await readWallets(autocommit(database.pool), 'bus_default', ['cus_b']);
  if (wallet === undefined) throw new Error('no wallet');
  const rest = { entries: [], alerts: [], holds, lots: null, statuses: [], checkouts: [] };
  // One row, given as two: one of them is not written.
  const writing = transaction(pool, async (tx) => {
    await tx.query('insert into note values (1)');
    await write(tx, { wallets: [wallet, wallet], ...rest });
  });
  await expect(writing).rejects.toMatchObject({ code: '22012' });
  expect(await notes()).toEqual([]);
});
