import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LEASE_SECONDS } from '../../src/outgoing/claim.ts';
import { LAST_RETRY_SECONDS } from '../../src/outgoing/publisher.ts';
import { TIMEOUT_MS } from '../../src/outgoing/svix/client.ts';
import { AWAY_SECONDS } from '../../src/outgoing/svix/publisher.ts';
import { createTicker, ROUNDING_SECONDS, TICK_SECONDS, type Ticker } from '../../src/outgoing/ticker.ts';
import { createLogger } from '../../src/telemetry/log.ts';

/** The schedule of looks on a frozen clock: what is due, and what any worker learns of it, move by hand. */
const PROMISED_SECONDS = 30;
/** By when a row that a run left is handed over once its run has begun; also what is lost between the second and the timer. */
const SLACK_SECONDS = 3;

let tickers: Ticker[];
let dueAt: number | null;
let wokenAt: number[];
let looks: number;
const seconds = () => performance.now() / 1000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  [tickers, dueAt, wokenAt, looks] = [[], null, [], 0];
});
afterEach(() => {
  for (const ticker of tickers) ticker.close();
  vi.useRealTimers();
});

function start(look?: () => Promise<number | null>): Ticker {
  const ticker = createTicker({
    look:
      look ??
      (async () => {
        looks += 1;
        return dueAt === null ? null : Math.max(0, dueAt - seconds());
      }),
    wake: () => {
      wokenAt.push(seconds());
      dueAt = null;
    },
    logger: createLogger('silent', 'test'),
  });
  tickers.push(ticker);
  return ticker;
}

const pass = (forSeconds: number) => vi.advanceTimersByTimeAsync(forSeconds * 1000);

describe('the ticker', () => {
  test.each([0.1, 5, 14.9])('finds a commit whose wake-up was lost %s s after a look', async (after) => {
    start();
    await pass(after);
    dueAt = seconds();
    const from = seconds();
    await pass(PROMISED_SECONDS);
    expect(wokenAt).toHaveLength(1);
    expect((wokenAt[0] ?? 0) - from).toBeLessThanOrEqual(TICK_SECONDS);
  });

  test.each([0.5, 2, 9.5, 14, 40, 900])(
    'looks for what is due in %s s by then, and at no time wakes early',
    async (wait) => {
      const ticker = start();
      await pass(3);
      dueAt = seconds() + wait;
      ticker.expect(wait);
      await pass(wait + TICK_SECONDS);
      expect(wokenAt).toHaveLength(1);
      expect(wokenAt[0]).toBeGreaterThanOrEqual(3 + wait);
      expect(wokenAt[0]).toBeLessThanOrEqual(3 + wait + ROUNDING_SECONDS);
    },
  );

  test('a retry that is due sooner is not put off by one that is due later, whichever is known first', async () => {
    const ticker = start();
    await pass(1);
    ticker.expect(2);
    ticker.expect(12);
    ticker.expect(null);
    dueAt = seconds() + 2;
    await pass(3);
    expect(wokenAt).toHaveLength(1);
  });

  test('knows of the lease of a worker that dies, however often it was renewed before', async () => {
    start();
    for (let renewals = 0; renewals < 7; renewals += 1) {
      dueAt = seconds() + LEASE_SECONDS;
      await pass(LEASE_SECONDS / 3);
      expect(wokenAt).toEqual([]);
    }
    dueAt = seconds() + LEASE_SECONDS;
    const diedAt = seconds();
    await pass(PROMISED_SECONDS);
    expect(wokenAt).toHaveLength(1);
    expect((wokenAt[0] ?? 0) - diedAt).toBeLessThanOrEqual(LEASE_SECONDS + ROUNDING_SECONDS);
  });

  test('costs four looks a minute while nothing waits', async () => {
    start();
    await pass(600);
    expect(looks).toBe(41);
    expect(wokenAt).toEqual([]);
  });

  test('goes on when a look fails, and ends when it is closed', async () => {
    const answers = [Promise.reject(new Error('the database is away')), Promise.resolve(0)];
    start(() => answers.shift() ?? Promise.resolve(null));
    await pass(TICK_SECONDS);
    expect(wokenAt).toHaveLength(1);
    tickers[0]?.close();
    tickers[0]?.expect(1);
    await pass(60);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test.each([
  ['the wake-up after a commit is lost', TICK_SECONDS],
  ['Svix comes back', TIMEOUT_MS / 1000 + Math.max(AWAY_SECONDS, LAST_RETRY_SECONDS) + ROUNDING_SECONDS],
  ['a worker dies with its leases', LEASE_SECONDS + ROUNDING_SECONDS],
])('merchants hear within 30 s when %s', (_, longest) => {
  expect(longest + SLACK_SECONDS).toBeLessThanOrEqual(PROMISED_SECONDS);
});
