import { describe, expect, it, type TestContext } from 'vitest';
import { past } from '../../src/cli/values.ts';
import { freePort } from '../../src/db/embedded.ts';
import { startTestApp } from '../support/app.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { FaultTraffic, newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { skewedClock } from '../support/injection.ts';
import { jumpingClock } from '../support/jumping-clock.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import {
  DODO_SECRET,
  dodoPayment,
  STRIPE_SECRET,
  signDodo,
  signStripe,
  stripePaymentSucceeded,
} from '../support/signing.ts';
import { type ProxiedStatement, StatementProxy } from '../support/statement-proxy.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';
import { eventually } from '../support/wait.ts';

/**
 * F26: clocks are wrong. Of a process by ten minutes: signatures are judged by the database's clock, and so are claims of jobs and
 * leases of wallets, so that it neither takes what another works on nor waits for what is free, and entries keep their order. Of the database by an hour, forwards (all claims lapse at once) and backwards. And what is computed from
 * days: nothing is by the time zone of a process, nor by its changes of summer time.
 *
 * Nobody sets the machine's clock here. A process's is shifted within it, for every line of its code; the database's by a
 * `now()` of the test's own before Postgres'.
 */
const SKEW_SECONDS = 600;
const TOLERANCE_SECONDS = 300;
/** In the zone that the processes are told to be in, clocks went from 01:59:59 to 01:00:00 here. */
process.env.TZ = 'America/New_York';

describe.concurrent('a worker whose clock is wrong', () => {
  const ORDERS = [
    ['behind', 'ahead'],
    ['ahead', 'behind'],
  ] as const;
  const skew = { behind: -SKEW_SECONDS * 1000, ahead: SKEW_SECONDS * 1000 };

  it.for(ORDERS.slice(0, rounds(1, 2)))(
    '(one %s, the other %s) takes nothing from the other, waits for nothing that is free, and tells merchants once',
    { timeout: 300_000 },
    async ([first, second], context) => {
      const { rig, svix, proxies } = await startRig(context);
      await rig.startWebHere();
      const start = (which: typeof first | typeof second, proxy: StatementProxy) =>
        rig.startWorker({ ...skewedClock(skew[which]), DATABASE_URL: patient(proxy), TZ: 'America/New_York' });
      const [firstProxy, secondProxy] = proxies;
      await start(first, firstProxy);
      const [held, free] = [await rig.traffic.newCustomer(100), await rig.traffic.newCustomer(10_000)];

      // The first applies an event, and the second looks for work and for jobs whose worker died.
      const applies = hold([firstProxy], beforeEvents);
      await rig.traffic.deliver(paymentEvent(held, 10));
      await applies.isHeld;
      await start(second, secondProxy);
      const { now } = await monitoring(rig);
      await rig.traffic.deliver(paymentEvent(free, 20));
      await eventually('the other event to be applied', async () => (await balanceOf(rig, free)) === 10_020);
      await eventually('the jobs to be looked over', async () => (await monitoring(rig)).lookedAt > now);
      applies.letGo();
      await rig.expectAllWell();
      const { rows } = await rig.database.pool.query(
        "select retry_count from pgboss.job where name = 'apply-provider-events'",
      );
      expect(rows).toEqual([{ retry_count: 0 }, { retry_count: 0 }]);

      // One of the two announces a wallet, and the other looks for wallets.
      const marks = hold(proxies, beforeMarks);
      const looks = proxies.map((proxy) => countOf(proxy, LOOKING));
      await rig.traffic.debit(newDebit(held, 1));
      const holder = await marks.isHeld;
      const other = looks.find((_, index) => proxies[index] !== holder) ?? (() => 0);
      const before = other();
      await eventually('the other worker to look for wallets', async () => {
        await rig.traffic.debit(newDebit(free, 1));
        return other() > before + 1;
      });
      marks.letGo();
      await rig.expectAllWell();
      const ids = svix.calls('message.create').map(({ idempotencyKey }) => idempotencyKey);
      expect(new Set(ids).size).toBe(ids.length);
      const versions = versionsTold(svix, held);
      expect(versions).toEqual(versions.toSorted((a, b) => a - b));
      // Its zone is nobody's business either.
      const zones = await rig.database.pool.query('select distinct timezone from pgboss.schedule');
      expect(zones.rows).toEqual([{ timezone: 'UTC' }]);
    },
  );
});

describe.concurrent('a web process whose clock is wrong', () => {
  it("judges signatures by the database's, and writes entries in order beside one whose clock is wrong the other way", async (context) => {
    const { rig, svix, webs } = await startSkewedWebs(context);
    const now = Math.floor(Date.now() / 1000);
    let accepted = 0;
    for (const { skewSeconds, port } of webs) {
      for (const ahead of [skewSeconds, -TOLERANCE_SECONDS - 20, TOLERANCE_SECONDS + 20]) {
        expect(await deliverSigned(port, now + ahead)).toEqual({ stripe: 401, dodo: 401 });
      }
      for (const ahead of [0, -TOLERANCE_SECONDS + 20, TOLERANCE_SECONDS - 20]) {
        expect(await deliverSigned(port, now + ahead)).toEqual({ stripe: 200, dodo: 200 });
        accepted += 2;
      }
    }
    const { rowCount } = await rig.database.pool.query('select 1 from provider_event');
    expect(rowCount).toBe(accepted);

    // And each writes entries to one wallet in turn, a debit that the right one is asked for as well.
    await rig.startWorker();
    const customerId = await rig.traffic.newCustomer(1_000);
    for (let round = 0; round < 10; round += 1) {
      for (const { traffic } of webs) {
        const debit = newDebit(customerId, 7);
        expect((await traffic.debitOnce(debit)).status).toBe(200);
        expect((await rig.traffic.debitOnce(debit)).status).toBe(409);
      }
    }
    await rig.expectAllWell();
    const { body } = await rig.traffic.call('GET', `/customers/${customerId}/wallets/ledger-entries?page_size=100`);
    const entries: { created_at: string; after_balance: number }[] = body.items.toReversed();
    expect(entries.map((entry) => entry.after_balance)).toEqual(
      Array.from({ length: 21 }, (_, index) => 1_000 - 7 * index),
    );
    const times = entries.map((entry) => entry.created_at);
    expect(times).toEqual(times.toSorted());
    for (const at of new Set(times)) {
      const then = await rig.traffic.call('GET', `/customers/${customerId}/wallets/USD?at=${at}`);
      expect(then.body.balance).toBe(entries.findLast((entry) => entry.created_at === at)?.after_balance);
    }
    const versions = versionsTold(svix, customerId);
    expect(versions.at(-1)).toBe(21);
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
  }, 300_000);
});

describe.concurrent('a database whose clock jumps', () => {
  it('forwards by an hour: every claim lapses at once, and each event counts once; and back again', async (context) => {
    const { rig, svix, proxies } = await startRig(context);
    const jump = await jumpingClock(rig.database.ownerUrl);
    await rig.startWebHere();
    for (const proxy of proxies) await rig.startWorker({ DATABASE_URL: patient(proxy) });
    const customers = [await rig.traffic.newCustomer(100), await rig.traffic.newCustomer(100)] as const;
    await rig.expectAllWell();
    const begins = hold(proxies, beforeEvents);
    await rig.traffic.deliver(paymentEvent(customers[0], 10));
    await begins.isHeld;
    await jump(3_600);
    await eventually(
      'the event to be applied by another run',
      async () => (await balanceOf(rig, customers[0])) === 110,
      60_000,
    );
    begins.letGo();
    const marks = hold(proxies, beforeMarks);
    await rig.traffic.debit(newDebit(customers[1], 1));
    await marks.isHeld;
    const leasedUntil = await leaseOf(rig, customers[1]);
    await jump(7_200);
    // Whoever of the two takes it up: the one that sent the message knows so, and the other sends it under the same id.
    await eventually(
      'the wallet to be claimed again',
      async () => ((await leaseOf(rig, customers[1])) ?? Infinity) > (leasedUntil ?? 0),
      60_000,
    );
    marks.letGo();
    await rig.expectAllWell();
    const versions = versionsTold(svix, customers[1]);
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));

    await jump(0);
    for (const customerId of customers) {
      await rig.traffic.deliver(paymentEvent(customerId, 5));
      await rig.traffic.debit(newDebit(customerId, 1));
    }
    await rig.expectAllWell();
  }, 300_000);
});

/** Until when the wallet's news is claimed, in milliseconds; null where nothing is to be told of it. */
async function leaseOf({ database: { pool } }: FaultRig, customerId: string): Promise<number | null> {
  const { rows } = await pool.query<{ until: Date }>(
    "select claimed_until as until from unannounced_wallet where customer_id = $1 and currency = 'USD' and claimed_until is not null",
    [customerId],
  );
  return rows[0]?.until.getTime() ?? null;
}

describe('days', () => {
  const MOMENTS = [
    ['the end of summer time', '2026-11-01T06:00:00.000Z'],
    ['the beginning of summer time', '2027-03-14T07:00:00.000Z'],
    ['the end of a month and a year', '2027-01-01T00:00:00.000Z'],
    ['the leap day', '2028-02-29T00:00:00.000Z'],
    ['the end of a month where we are', '2026-12-01T05:00:00.000Z'],
  ] as const;

  it('are told apart to the millisecond in the past of a wallet', async () => {
    let now = new Date();
    const app = await startTestApp({ clock: { now: () => now } });
    for (const [, moment] of MOMENTS) {
      now = new Date(Date.parse(moment) - 86_400_000);
      const customerId = await app.newCustomer();
      const wallet = `/customers/${customerId}/wallets`;
      const dates = [-3_600_000, -1, 0, 1, 3_600_000].map((ms) => new Date(Date.parse(moment) + ms));
      for (now of dates) {
        const entry = { amount: 1, currency: 'USD', entry_type: 'credit' };
        expect((await app.call('POST', `${wallet}/ledger-entries`, entry)).status).toBe(200);
      }
      const texts = dates.map((date) => date.toISOString());
      const { body } = await app.call(
        'GET',
        `${wallet}/ledger-entries?created_at_gte=${texts[1]}&created_at_lte=${texts[3]}`,
      );
      expect(body.items.map((entry: { created_at: string }) => entry.created_at)).toEqual(
        texts.slice(1, 4).toReversed(),
      );
      for (const [index, at] of texts.entries()) {
        const then = await app.call('GET', `${wallet}/USD?at=${at}`);
        expect(then.body).toMatchObject({ balance: index + 1, version: index + 1 });
      }
    }
    await expectBooksToAgree(app.database.pool);
    await app.close();
  });

  it.for(MOMENTS)('back from now are of 24 hours, and dates are of UTC: at %s', ([, moment]) => {
    const now = new Date(Date.parse(moment) + 3_600_000);
    expect(past.parse('3d')(now)).toEqual(new Date(now.getTime() - 3 * 86_400_000));
    const date = moment.slice(0, 10);
    expect(past.parse(date)(now).toISOString()).toBe(`${date}T00:00:00.000Z`);
  });
});

interface ClockRig {
  readonly rig: FaultRig;
  readonly svix: SvixServer;
  /** Further ways to the database, to tell its users apart. */
  readonly proxies: readonly [StatementProxy, StatementProxy];
}

async function startRig({ onTestFinished }: TestContext): Promise<ClockRig> {
  const svix = await SvixServer.start();
  onTestFinished(() => svix.close());
  const rig = await FaultRig.start({
    SVIX_TOKEN,
    SVIX_SERVER_URL: svix.url,
    WALLET_CURRENCIES: 'USD',
    DODO_WEBHOOK_SECRET: DODO_SECRET,
  });
  onTestFinished(() => rig.close());
  const { url } = rig.database;
  const proxies = await Promise.all([StatementProxy.start(url), StatementProxy.start(url)]);
  for (const proxy of proxies) onTestFinished(() => proxy.close());
  return { rig, svix, proxies };
}

/** Leaves a transaction that stands in the proxy alone for longer than the service would. */
function patient({ url }: StatementProxy): string {
  return `${url}?idle_in_transaction_session_timeout=60000`;
}

interface SkewedWeb {
  readonly skewSeconds: number;
  readonly port: number;
  readonly traffic: FaultTraffic;
}

/** The rig's web, whose clock is right, and two whose clocks are not. */
async function startSkewedWebs(context: TestContext): Promise<ClockRig & { readonly webs: readonly SkewedWeb[] }> {
  const started = await startRig(context);
  const { rig } = started;
  const start = async (skewSeconds: number): Promise<SkewedWeb> => {
    const port = await freePort();
    const web = await rig.startWeb({ ...skewedClock(skewSeconds * 1000), PORT: String(port) });
    expect(web.output()).toContain(`:${port}`);
    return { skewSeconds, port, traffic: new FaultTraffic(`http://127.0.0.1:${port}`, rig.environment.API_KEY ?? '') };
  };
  await rig.startWebHere();
  return { ...started, webs: await Promise.all([start(SKEW_SECONDS), start(-SKEW_SECONDS)]) };
}

/** A payment of nobody's by each of two providers, signed at that moment. @returns the answers' statuses */
async function deliverSigned(port: number, atSeconds: number): Promise<{ stripe: number; dodo: number }> {
  const post = async (provider: string, body: string, headers: Readonly<Record<string, string>>) =>
    (await fetch(`http://127.0.0.1:${port}/webhooks/${provider}`, { method: 'POST', body, headers })).status;
  const [stripe, dodo] = [stripePaymentSucceeded(), dodoPayment()];
  return {
    stripe: await post('stripe', stripe, signStripe(stripe, STRIPE_SECRET, atSeconds)),
    dodo: await post('dodo', dodo, signDodo(dodo, DODO_SECRET, atSeconds)),
  };
}

/** A point in a worker's transactions: tells whether a statement of a proxy stands at it. */
type Watch = (statement: ProxiedStatement) => boolean;

/** Before the events of a batch are locked: nothing is, but the jobs are claimed. */
const beforeEvents: Watch = (statement) => statement.sql.includes('order by event_id for update');
/** Before a wallet is marked as told of: it is leased, nothing is locked, and Svix has accepted the messages. */
const beforeMarks: Watch = (statement) => statement.sql.includes('for update of w skip locked');
/** Looking for wallets whose lease is over, or that have none. */
const LOOKING = 'from unannounced_wallet\n    where merchant_id <> all (';

interface Hold {
  /** Resolves with the proxy where the statement stands. */
  readonly isHeld: Promise<StatementProxy>;
  letGo(): void;
}

/** Holds one statement, the first on any of these ways. */
function hold(proxies: readonly StatementProxy[], watch: Watch): Hold {
  const { promise, resolve } = Promise.withResolvers<void>();
  let holder: StatementProxy | null = null;
  for (const proxy of proxies) {
    proxy.inject((statement) => {
      if (!watch(statement) || holder !== null) return null;
      holder = proxy;
      return { when: 'before', connection: 'kept', meanwhile: () => promise };
    });
  }
  return { isHeld: eventually('a statement to be held', () => holder), letGo: resolve };
}

/** How many statements with `text` have passed. */
function countOf(proxy: StatementProxy, text: string): () => number {
  let count = 0;
  proxy.inject(({ sql }) => {
    if (sql.includes(text)) count += 1;
    return null;
  });
  return () => count;
}

/** When the jobs of dead workers were last looked for, and what time it is, both by the database. */
async function monitoring({ database }: FaultRig): Promise<{ lookedAt: Date; now: Date }> {
  const { rows } = await database.pool.query<{ lookedAt: Date; now: Date }>(
    `select monitor_claim_on as "lookedAt", now() from pgboss.queue where name = 'apply-provider-event'`,
  );
  return rows[0] ?? expect.unreachable('the queue is gone');
}

async function balanceOf({ database }: FaultRig, customerId: string): Promise<number | undefined> {
  const { rows } = await database.pool.query<{ balance: number }>('select balance from wallet where customer_id = $1', [
    customerId,
  ]);
  return rows[0]?.balance;
}

/** The versions of the wallet's balance that Svix accepted, in order. */
function versionsTold(svix: SvixServer, customerId: string): readonly number[] {
  const told = svix.accepted('bus_default') as readonly {
    type: string;
    data: { customer_id: string; version: number };
  }[];
  return told
    .filter(({ type, data }) => type === 'wallet.balance.changed' && data.customer_id === customerId)
    .map(({ data }) => data.version);
}
