import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  array,
  bigint,
  boolean,
  bytea,
  type Codec,
  float,
  hex,
  integer,
  json,
  milliseconds,
  nullable,
  present,
  smallint,
  text,
  tid,
  timestamptz,
} from '../../src/db/codec.ts';
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

  it('writes rows of every type in binary, and reads them as they were', async () => {
    const ALL = {
      ...{ place: integer, text, small: smallint<number>(), integer, bigint, isSo: boolean, float, bytes: bytea },
      ...{ hash: hex, json: json<unknown>(), at: timestamptz, since: milliseconds, standing: tid },
    };
    const shape = Object.fromEntries(Object.entries(ALL).map(([name, codec]) => [name, nullable<unknown>(codec)]));
    const ECHO = statement({
      params: { rows: rowsOf(shape) },
      row: shape,
      text: ({ rows }) => `select ${columns(shape, 'n')} from ${rows('n')} order by n.place`,
    });
    expect(Object.values(ALL).every(({ binary }) => binary !== null)).toBe(true);
    const row = (place: number, rest: Readonly<Record<string, unknown>>) => ({
      ...{ place, text: '', small: 0, integer: 0, bigint: 0, isSo: false, float: 0, bytes: Buffer.alloc(0) },
      ...{ hash: '', json: {}, at: new Date(0), since: 0, standing: '(0,1)', ...rest },
    });
    const [most, long] = [Number.MAX_SAFE_INTEGER, 'ä€😀'.repeat(50_000)];
    const rows = [
      row(0, {}),
      row(1, { small: 32_767, integer: 2 ** 31 - 1, bigint: most, float: 1e300, isSo: true, hash: 'ff00'.repeat(16) }),
      row(2, { small: -32_768, integer: -(2 ** 31), bigint: -most, float: -0.1, bytes: Buffer.from([0, 255]) }),
      row(3, { text: 'x'.repeat(64), at: new Date('9999-12-31T23:59:59.999Z'), since: 1_790_000_000_001, bigint: -1 }),
      row(4, { text: 'x'.repeat(65), at: new Date('0001-01-01T00:00:00Z'), since: -1, bigint: 2 ** 32 }),
      row(5, { text: long, json: { [long]: [long, null, '\\"'] }, bigint: -(2 ** 32) - 1 }),
      row(6, { text: '{"a",NULL}\\ ä', json: 'null', at: new Date('2285-06-05T23:47:34.740Z') }),
      { ...Object.fromEntries(Object.keys(ALL).map((name) => [name, null])), place: 7 },
      row(8, { text: 'NULL', at: new Date('2285-06-05T23:47:34.741Z') }),
      row(9, { standing: '(4294967295,65535)' }),
      row(10, { standing: '(2147483648,32768)' }),
    ];
    expect(await ECHO.all(autocommit(database.pool), { rows })).toEqual(rows);
    expect(await ECHO.all(autocommit(database.pool), { rows: rows.slice(7, 8) })).toEqual(rows.slice(7, 8));
    expect(await ECHO.all(autocommit(database.pool), { rows: [] })).toEqual([]);
  });

  it.each<[string, Codec<unknown>, unknown]>([
    ['a fraction for a bigint', bigint, 1.5],
    ['a number that is not exact', bigint, 2 ** 53],
    ['no number', bigint, Number.NaN],
    ['too large a number for an integer', integer, 2 ** 31],
    ['too large a number for a smallint', smallint(), -32_769],
    ['no time', timestamptz, new Date(Number.NaN)],
    ['half a byte', hex, 'abc'],
    ['no place', tid, '(1)'],
  ])('refuses %s among many rows, and goes on with the next', async (_, codec, value) => {
    const ECHO = statement({
      params: { rows: rowsOf({ value: codec }) },
      row: { count: bigint },
      text: ({ rows }) => `select count(*) from ${rows('n')}`,
    });
    const db = autocommit(database.pool);
    await expect(ECHO.one(db, { rows: [{ value }] })).rejects.toThrow(InvariantError);
    expect(await ECHO.one(db, { rows: [{ value: null }] })).toEqual({ count: 1 });
  });

  it('refuses a text that Postgres cannot store', async () => {
    const things = [{ thingId: 'a\0', amountMinor: 1, at: new Date(0), note: null, hash: null, metadata: null }];
    await expect(INSERT.all(autocommit(database.pool), { things })).rejects.toMatchObject({ code: '22021' });
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
