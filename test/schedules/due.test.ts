import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DueKind, settleAllDue } from '../../src/schedules/due.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { SETTINGS } from '../support/ledger.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const NOW = new Date('2026-01-15T12:00:00Z');

/** Rows of two merchants; those of `stuck` are due again whatever is done. */
function rowsOf(stuck: readonly string[], more: readonly string[]): DueKind<string> & { readonly due: Set<string> } {
  const due = new Set([...stuck, ...more]);
  const own = (merchantId: string) => [...due].filter((key) => key.startsWith(merchantId));
  return {
    due,
    name: 'rows',
    pageSize: 2,
    merchants: async () => ['a', 'b'],
    page: async (_, merchantId, { limit }) => own(merchantId).slice(0, limit),
    settle: async (_, { keys }) => {
      for (const key of keys) if (!stuck.includes(key)) due.delete(key);
      return [];
    },
    putOff: async () => {},
  };
}

const work = (kind: DueKind<string>) =>
  settleAllDue(
    {
      ...{ pool: database.pool, settings: SETTINGS, clock: { now: () => NOW }, onPosted: () => {} },
      ...{ signal: new AbortController().signal, logger: createLogger('silent', 'test') },
    },
    kind,
  );

describe('what is due', () => {
  it('is looked at to an end, also where rows stay due whatever is done', async () => {
    const kind = rowsOf(['a1'], ['a2', 'a3', 'a4', 'b1', 'b2', 'b3']);
    await work(kind);
    expect([...kind.due]).toEqual(['a1']);
  });

  it('of one merchant keeps nobody else waiting, also where a whole page of it stays due', async () => {
    const kind = rowsOf(['a1', 'a2'], ['a3', 'b1', 'b2', 'b3', 'b4', 'b5']);
    await work(kind);
    expect([...kind.due]).toEqual(['a1', 'a2', 'a3']);
  });

  it('of a merchant of whom nothing can be read keeps nobody else waiting, and the run fails at its end', async () => {
    const kind = rowsOf([], ['a1', 'b1', 'b2', 'b3']);
    const page: typeof kind.page = async (db, merchantId, due) => {
      if (merchantId === 'a') throw new Error('of one merchant');
      return kind.page(db, merchantId, due);
    };
    await expect(work({ ...kind, page })).rejects.toThrow('of one merchant');
    expect([...kind.due]).toEqual(['a1']);
  });

  it('and can be neither settled nor put off keeps nobody else waiting either', async () => {
    const kind = rowsOf([], ['a1', 'b1', 'b2', 'b3']);
    const refuse = (message: string) => (keys: readonly string[]) => {
      if (keys.includes('a1')) throw new Error(message);
    };
    const failing: typeof kind = {
      ...kind,
      settle: async (tx, due, moment) => {
        refuse('not settled')(due.keys);
        return kind.settle(tx, due, moment);
      },
      putOff: async (_, due) => refuse('not put off')(due.keys),
    };
    await expect(work(failing)).rejects.toThrow('not put off');
    expect([...kind.due]).toEqual(['a1']);
  });

  it('is no matter of one merchant where the database is away: the run ends', async () => {
    const away = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
    const kind = rowsOf([], ['a1', 'b1']);
    await expect(work({ ...kind, page: () => Promise.reject(away) })).rejects.toBe(away);
    expect(kind.due.size).toBe(2);
  });
});
