import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Pool } from '../../src/db/pool.ts';
import { isUnavailable, OutcomeUnknownError } from '../../src/db/sqlstate.ts';
import { transaction } from '../../src/db/transaction.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.pool.query('create table note (id integer primary key, text text)');
});

afterAll(() => database.drop());

const count = async () => (await database.pool.query('select 1 from note')).rowCount;

/** The pool, with a connection that loses its server when it is sent `statement`: after the server has carried it out. */
function losing(statement: string, error: Error): Pool {
  const connect = async () => {
    const client = await database.pool.connect();
    const query = async (config: string | { text: string }, values?: unknown[]) => {
      const result = await client.query(config as string, values);
      if ((typeof config === 'string' ? config : config.text) === statement) throw error;
      return result;
    };
    return { query, release: () => client.release(true) };
  };
  return Object.assign(Object.create(database.pool), { connect });
}

const systemError = (code: string) => Object.assign(new Error(`read ${code}`), { code });

describe('a transaction', () => {
  it.each(['ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ERR_SSL_WRONG_VERSION_NUMBER'])(
    'does not know its outcome when the connection is lost at COMMIT: %s',
    async (code) => {
      const before = (await count()) ?? 0;
      const work = transaction(losing('commit', systemError(code)), (tx) =>
        tx.query('insert into note values ($1)', [before + 10]),
      );
      const error: unknown = await work.catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OutcomeUnknownError);
      expect(isUnavailable(error)).toBe(true);
      // It did happen; whoever takes this error for a refusal and tries again would do it twice.
      expect(await count()).toBe(before + 1);
    },
  );

  it('undoes a savepoint alone', async () => {
    const before = (await count()) ?? 0;
    await transaction(database.pool, async (tx) => {
      await tx.query('insert into note values (100)');
      await tx.savepoint(() => tx.query('insert into note values (100)')).catch(() => {});
    });
    expect(await count()).toBe(before + 1);
  });

  it('lets no part of its work go on once another has failed: what is sent behind ROLLBACK would be kept', async () => {
    const before = (await count()) ?? 0;
    const goOn = Promise.withResolvers<void>();
    const late: Promise<unknown>[] = [];
    const failed = transaction(database.pool, async (tx) => {
      await tx.query('select 1');
      const other = async () => {
        await goOn.promise;
        await tx.query('insert into note values (200)');
      };
      late.push(other());
      throw new Error('one part failed');
    });
    await expect(failed).rejects.toThrow('one part failed');
    goOn.resolve();
    await expect(late[0]).rejects.toThrow('a transaction that is over');
    expect(await count()).toBe(before);
  });

  it('sends no write behind ROLLBACK that waited for BEGIN', async () => {
    const before = (await count()) ?? 0;
    const late: Promise<unknown>[] = [];
    const failed = transaction(database.pool, (tx) => {
      late.push(tx.query('insert into note values (201)').catch((error: unknown) => error));
      throw new Error('at once');
    });
    await expect(failed).rejects.toThrow('at once');
    expect(await late[0]).toMatchObject({ message: expect.stringContaining('is over') });
    expect(await count()).toBe(before);
  });
});
