import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { array, bigint, hex, json, nullable, present, text, timestamptz } from '../../src/db/codec.ts';
import { createPool } from '../../src/db/pool.ts';
import { rowsOf, statement } from '../../src/db/statement.ts';
import { assignments, columns, matches, omit, pick } from '../../src/db/table.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { InvariantError } from '../../src/errors.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const THING = {
  thingId: text,
  amountMinor: { ...bigint, column: 'amount' },
  at: timestamptz,
  note: nullable(text),
  hash: nullable(hex),
  metadata: nullable(json<{ readonly a: string }>()),
};

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.pool.query(
    'create table thing (thing_id text, amount bigint, at timestamptz, note text, hash bytea, metadata jsonb)',
  );
});
afterAll(() => database.drop());

const INSERT = statement({
  params: { things: rowsOf(THING) },
  row: THING,
  text: ({ things }) => `
    insert into thing (${columns(THING)}) select ${columns(THING, 'n')} from ${things('n', { position: 'place' })}
    order by place desc returning ${columns(THING)}`,
});

describe('a statement', () => {
  it('writes many rows and reads them again, whatever their texts hold', async () => {
    const things = [
      { thingId: 'a', amountMinor: 2 ** 53 - 1, at: new Date(0), note: null, hash: null, metadata: null },
      {
        thingId: '{"\\,NULL}',
        amountMinor: -1,
        at: new Date('2026-02-03T04:05:06.789Z'),
        note: 'null',
        hash: '00ff5c22',
        metadata: { a: '"\\\'{},\n' },
      },
    ];
    expect(await INSERT.all(autocommit(database.pool), { things })).toEqual(things.toReversed());
    expect(await INSERT.run(autocommit(database.pool), { things: [] })).toBe(0);
  });

  it('has the same text for any number of rows', () => {
    const written = columns(THING);
    expect(written).toBe('thing_id, amount, at, note, hash, metadata');
    expect(columns(pick(THING, 'thingId', 'at'), 't')).toBe('t.thing_id, t.at');
    expect(assignments(omit(THING, 'thingId', 'at', 'hash', 'metadata'), 'n')).toBe('amount = n.amount, note = n.note');
    expect(matches(pick(THING, 'thingId'), 'a', 'b')).toBe('a.thing_id = b.thing_id');
  });

  it('refuses an array of many rows when it is declared, since unnest would take it apart', () => {
    expect(() =>
      statement({ params: { rows: rowsOf({ list: array(text) }) }, text: ({ rows }) => `select from ${rows('n')}` }),
    ).toThrow(InvariantError);
  });

  it.each([
    ['a column that is never null', timestamptz],
    ['a column that is never null in these rows', present(timestamptz)],
  ])('throws where %s is null', async (_, codec) => {
    const NULL = statement({ params: {}, row: { at: codec }, text: () => 'select null::timestamptz as at' });
    await expect(NULL.all(autocommit(database.pool))).rejects.toThrow('the database returned no at');
  });

  it('has one row where it always has one, and throws otherwise', async () => {
    const NONE = statement({ params: {}, row: { a: text }, text: () => `select 'a'::text as a where false` });
    expect(await NONE.first(autocommit(database.pool))).toBe(null);
    await expect(NONE.one(autocommit(database.pool))).rejects.toThrow(InvariantError);
  });
});

it('a time that is not written in ISO 8601 throws, instead of being read as null', async () => {
  const pool = createPool({
    databaseUrl: database.ownerUrl,
    applicationName: 'test',
    maxConnections: 1,
    logger: createLogger('silent', 'test'),
  });
  const END = statement({
    params: {},
    row: { at: nullable(timestamptz) },
    text: () => "select timestamptz '2026-03-04 05:06:07Z' as at",
  });
  // Each session begins with the right style (session.test.ts); a pooler may have given it to somebody else since.
  await pool.query("set datestyle = 'SQL, DMY'");
  await expect(END.one(autocommit(pool))).rejects.toThrow('datestyle');
  await pool.end();
});
