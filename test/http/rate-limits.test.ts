import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { placeOf } from '../../src/http/kit/rate-limit.ts';
import { SharedLimit } from '../../src/http/kit/shared-limit.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { RawSocket } from '../security/raw-socket.ts';
import { startTestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/wait.ts';

const logger = createLogger('silent', 'test');

let database: TestDatabase;
/** As the user of the web process. */
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  const options = { applicationName: 'test', maxConnections: 5, logger };
  pool = createPool({ databaseUrl: database.webUrl, ...options });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

/** As many processes as wanted, on one database. */
const processes = (count: number, limit: number) =>
  Array.from({ length: count }, () => new SharedLimit({ limit, pool, logger }));

/** Has `callers` at a time count requests, in turn by each of the processes. @returns how many may pass */
async function passed(limits: readonly SharedLimit[], limit: number, requests: number, callers: number) {
  const key = `key_${crypto.randomUUID()}`;
  let [next, count] = [0, 0];
  const caller = async () => {
    while (next < requests) {
      next += 1;
      const used = await limits[next % limits.length]?.count(key);
      if (used !== undefined && used.requests <= limit) count += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const { rows } = await database.pool.query<{ points: number }>('select points from rate_limit where key = $1', [key]);
  return { count, points: rows[0]?.points ?? 0 };
}

describe('the limit of a key', () => {
  it('is kept exactly by all processes together where it is small', async () => {
    expect(await passed(processes(3, 50), 50, 300, 8)).toMatchObject({ count: 50 });
  });

  it('is kept up to a few hundredths where it is large, by a query in a hundred requests', async () => {
    const here = processes(3, 10_000);
    const { count, points } = await passed(here, 10_000, 12_000, 1);
    expect(count).toBeGreaterThanOrEqual(10_000);
    expect(count).toBeLessThanOrEqual(10_000 + here.length * 200);
    // What was refused was not told, but for a request of each process that waited for the count of all.
    expect(points).toBeLessThanOrEqual(count + here.length);
    // As the package does with minutes long past.
    await pool.query('delete from rate_limit where expire < 0');
  });

  it('is not used up by others: each key has its own', async () => {
    const [one] = processes(1, 2);
    const counted = async (key: string) => (await one?.count(key))?.requests;
    expect([await counted('key_a'), await counted('key_a'), await counted('key_a')]).toEqual([1, 2, 3]);
    expect(await counted('key_b')).toBe(1);
  });

  it('is counted by each process for itself while the database does not answer', async () => {
    const gone = await createTestDatabase();
    await gone.drop();
    const limit = new SharedLimit({ limit: 2, pool: gone.pool, logger });
    const counts = [await limit.count('key'), await limit.count('key'), await limit.count('key')];
    expect(counts.map(({ requests }) => requests)).toEqual([1, 2, 3]);
    expect(counts[2]?.msLeft).toBeGreaterThan(0);
  });
});

describe('work', () => {
  it('is what is counted: entries of a batch, rows of a page, bytes of a body', async () => {
    const app = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '1000' } });
    try {
      const left = async (method: string, path: string, body?: unknown) =>
        Number((await app.call(method, path, body)).headers.get('x-ratelimit-remaining'));
      const batch = (entries: number) => left('POST', '/ledger-entries/batch', { entries: Array(entries).fill({}) });
      const person = { email: 'a@example.com', name: 'A', metadata: Object.fromEntries(longTexts()) };
      expect(await left('GET', '/customers')).toBe(999);
      expect(await left('GET', '/customers?page_size=100')).toBe(989);
      expect(await left('POST', '/customers', person)).toBe(986);
      expect(await batch(900)).toBe(86);
      // The last one may be larger than what is left, and nothing passes after it.
      const { status } = await app.call('POST', '/ledger-entries/batch', { entries: Array(900).fill({}) });
      expect([status, (await app.call('GET', '/customers')).status]).toEqual([200, 429]);
    } finally {
      await app.close();
    }
  });

  it('of one merchant takes nothing from the other, and past it no body is read', async () => {
    const app = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '10' } });
    try {
      const other = await app.newKey('mer_other', ['read']);
      await app.call('POST', '/ledger-entries/batch', { entries: Array(100).fill({}) });
      expect((await app.call('GET', '/customers')).status).toBe(429);
      const socket = await RawSocket.open(Number(new URL(app.baseURL).port));
      const headers = `Authorization: Bearer ${app.key}\r\nContent-Type: application/json\r\nContent-Length: 50000`;
      socket.write(`POST /ledger-entries/batch HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n`);
      await eventually('the refusal', () => socket.statuses.length === 1);
      expect(socket.statuses).toEqual([429]);
      socket.destroy();
      expect((await app.call('GET', '/customers', undefined, other)).status).toBe(200);
    } finally {
      await app.close();
    }
  });
});

/** Metadata of some 22 kB. */
const longTexts = () => Array.from({ length: 44 }, (_, index) => [`key${index}`, 'x'.repeat(490)]);

describe('the place of an address that guesses keys', () => {
  const salt = Buffer.alloc(16);

  it('is one of 65,536, however many addresses there are', () => {
    const places = new Set<string>();
    for (let index = 0; index < 300_000; index += 1) {
      places.add(placeOf(`10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`, salt));
    }
    expect(places.size).toBeLessThanOrEqual(65_536);
    expect(places.size).toBeGreaterThan(60_000);
  });

  it('is the same within a network of IPv6, and for an address of IPv4 however it is written', () => {
    expect(placeOf('2001:db8:1:2200::1', salt)).toBe(placeOf('2001:db8:1:22ff:9:9:9:9', salt));
    expect(placeOf('2001:db8:1:2200::1', salt)).not.toBe(placeOf('2001:db8:1:2300::1', salt));
    expect(placeOf('::ffff:203.0.113.7', salt)).toBe(placeOf('203.0.113.7', salt));
  });

  it('cannot be foreseen by whoever does not know the salt', () => {
    expect(placeOf('203.0.113.7', salt)).not.toBe(placeOf('203.0.113.7', Buffer.alloc(16, 1)));
  });
});
