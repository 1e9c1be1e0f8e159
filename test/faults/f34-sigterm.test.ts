import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startTestApp } from '../support/app.ts';
import { createTestDatabase } from '../support/database.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { startInbox } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { STRIPE_SECRET, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually, postingsToWait } from '../support/wait.ts';

/**
 * F34: SIGTERM to web in the middle of requests, to the worker in the middle of jobs, and to `npm start`, which is both.
 * What is under way is finished and answered, nothing new is taken, and the process exits with 0 within 30 s. What a
 * client does who never finishes is in slow/f34-sigterm-and-a-client-that-hangs.
 */
const EXIT_MS = 30_000;

describe('SIGTERM to web', () => {
  it('lets the requests under way be answered, takes no others, and exits with 0', async () => {
    const rig = await FaultRig.start();
    onTestFinished(() => rig.close());
    const { traffic } = rig;
    const web = await rig.startWeb();
    const [debited, paid] = [await traffic.newCustomer(100), await traffic.newCustomer()];
    const commits = heldCommits(rig, [
      ['chokin-web', 'entry'],
      ['chokin-web', 'provider_event'],
    ]);
    const debit = traffic.debitOnce(newDebit(debited, 7));
    const delivery = traffic.deliverOnce(paymentEvent(paid, 10));
    await commits.areHeld;
    const startedMs = performance.now();
    const exit = web.end('SIGTERM');
    await web.printed('stopping');
    await refusesConnections(rig);
    commits.letGo();
    expect(await debit).toMatchObject({ status: 200, body: { balance: 93 } });
    expect(await delivery).toBe(200);
    expect(await exit).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(EXIT_MS);
    await Promise.all([rig.startWeb(), rig.startWorker()]);
    await rig.expectAllWell();
  }, 120_000);

  it('ends it at once when it comes again later, and the merchant repeats what was cut off', async () => {
    const rig = await FaultRig.start();
    onTestFinished(() => rig.close());
    const { traffic } = rig;
    const web = startProcess('src/web.ts', rig.environment);
    onTestFinished(() => void web.child.kill('SIGKILL'));
    await web.printed('Listening');
    const debit = newDebit(await traffic.newCustomer(100), 7);
    const commits = heldCommits(rig, [['chokin-web', 'entry']]);
    const cutOff = traffic.debitOnce(debit);
    await commits.areHeld;
    const exit = web.end('SIGTERM');
    await web.printed('stopping');
    // Within a second it counts as the same: npm passes on what was sent to both.
    await eventually('another SIGTERM to end it', () => {
      web.child.kill('SIGTERM');
      return web.child.exitCode !== null;
    });
    expect(await exit).toBe(143);
    expect((await cutOff).status).toBe(0);
    commits.letGo();

    await Promise.all([rig.startWeb(), rig.startWorker()]);
    await traffic.debit(debit);
    await rig.expectAllWell();
  }, 120_000);

  it('within the process: finishes the requests under way, takes no others, and closes idle connections', async () => {
    const app = await startTestApp();
    const customer = await app.newCustomer();
    // The wallet is locked by somebody else, so the request waits inside the ledger.
    const blocker = await app.database.pool.connect();
    await blocker.query('begin');
    await blocker.query('select 1 from wallet where customer_id = $1 for update', [customer]);
    const entry = { amount: 5, currency: 'USD', entry_type: 'credit' };
    const pending = app.call('POST', `/customers/${customer}/wallets/ledger-entries`, entry);
    await eventually('the request to wait for the lock', async () => {
      const { rows } = await app.database.pool.query(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return rows.length === 1;
    });
    const closing = app.close();
    await eventually('new connections to be refused', () =>
      fetch(`${app.baseURL}/healthz`).then(
        () => false,
        () => true,
      ),
    );
    await blocker.query('commit');
    blocker.release();
    expect(await pending).toMatchObject({ status: 200, body: { balance: 5 } });
    await closing;
  });
});

describe('SIGTERM to a worker', () => {
  it('lets the batch under way finish and commit, takes no other, and exits with 0', async () => {
    const database = await createTestDatabase();
    await makeCustomers(database.pool, ['term']);
    const inbox = await startInbox(database, { works: false });
    const worker = startProcess('jobs/worker.ts', { DATABASE_URL: database.url, STRIPE_WEBHOOK_SECRET: STRIPE_SECRET });
    await worker.printed('the worker is ready');
    const holder = await database.pool.connect();
    await holder.query('begin');
    await holder.query("select 1 from wallet where customer_id = 'cus_term' for update");
    await inbox.deliver(stripePaymentSucceeded({ amount: 300, metadata: { wallet_customer_id: 'cus_term' } }));
    await postingsToWait(database.pool);
    const exit = worker.end('SIGTERM');
    await worker.printed('stopping');
    await inbox.deliver(stripePaymentSucceeded({ amount: 5, metadata: { wallet_customer_id: 'cus_term' } }));
    await holder.query('rollback');
    holder.release();
    expect(await exit).toBe(0);
    expect(await inbox.balance('cus_term')).toBe(300);
    expect(await inbox.states()).toEqual({ applied: 1, pending: 1 });
    await expectBooksToAgree(database.pool);
    await inbox.stop();
    await database.drop();
  }, 120_000);

  it('lets the merchant answer the webhook that is under way, and sends no other', async () => {
    const rig = await FaultRig.start({ WALLET_CURRENCIES: 'USD' });
    onTestFinished(() => rig.close());
    const { traffic } = rig;
    await rig.startWebHere();
    const endpoint = await startSlowEndpoint();
    const { status } = await traffic.call('POST', '/webhook-endpoints', {
      url: endpoint.url,
      event_types: ['wallet.balance.changed'],
    });
    expect(status).toBe(200);
    const worker = await rig.startWorker();
    const [first, second] = [await traffic.newCustomer(100), await traffic.newCustomer()];
    const answer = await endpoint.called();
    const exit = worker.end('SIGTERM');
    await worker.printed('stopping');
    await traffic.deliver(paymentEvent(second, 10));
    answer.writeHead(204).end();
    expect(await exit).toBe(0);
    const { rows } = await rig.database.pool.query('select state, attempts from webhook_delivery');
    expect(rows).toEqual([{ state: 'delivered', attempts: 1 }]);
    expect(await endpoint.bodies()).toEqual([expect.stringContaining(first)]);

    await rig.startWorker();
    (await endpoint.called()).writeHead(204).end();
    await rig.expectAllWell();
    expect(await endpoint.bodies()).toEqual([expect.stringContaining(first), expect.stringContaining(second)]);
  }, 120_000);
});

describe('SIGTERM to npm start', () => {
  it('lets request and job under way finish together, and exits with 0', async () => {
    const rig = await FaultRig.start();
    onTestFinished(() => rig.close());
    const { traffic } = rig;
    const first = await startMain(rig);
    const [paid, debited] = [await traffic.newCustomer(), await traffic.newCustomer(100)];
    const held = heldCommits(rig, [
      ['chokin-worker', 'entry'],
      ['chokin-web', 'entry'],
    ]);
    await traffic.deliver(paymentEvent(paid, 10));
    const answered = traffic.debitOnce(newDebit(debited, 7));
    await held.areHeld;
    const startedMs = performance.now();
    const exit = first.end('SIGTERM');
    await first.printed('stopping');
    await refusesConnections(rig);
    held.letGo();
    expect((await answered).status).toBe(200);
    expect(await exit).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(EXIT_MS);
    const { rows } = await rig.database.pool.query('select state from provider_event');
    expect(rows).toEqual([{ state: 'applied' }]);

    await Promise.all([rig.startWeb(), rig.startWorker()]);
    await rig.expectAllWell();
  }, 120_000);
});

/** `npm start` on the rig's database, as its owner, who migrates it. */
async function startMain(rig: FaultRig): Promise<ServiceProcess> {
  const { username, password } = new URL(rig.database.ownerUrl);
  const url = Object.assign(new URL(rig.proxy.url), { username, password });
  const main = startProcess('src/main.ts', { ...rig.environment, DATABASE_URL: url.href });
  onTestFinished(() => void main.child.kill('SIGKILL'));
  await main.printed('the worker is ready');
  return main;
}

type Process = 'chokin-web' | 'chokin-worker';
type Table = 'entry' | 'provider_event';

/** The next commit of a transaction in which each of these processes writes that table stands in the proxy until it is let go. */
function heldCommits(
  { proxy }: FaultRig,
  wanted: readonly (readonly [Process, Table])[],
): { areHeld: Promise<unknown>; letGo: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const writers = new Map<number, number>();
  const held = new Set<number>();
  proxy.inject(({ sql, applicationName, connection }) => {
    const index = wanted.findIndex(
      ([process, table]) => process === applicationName && sql.includes(`insert into ${table} (`),
    );
    if (index !== -1) writers.set(connection, index);
    const written = writers.get(connection);
    if (sql !== 'commit' || written === undefined || held.has(written)) return null;
    held.add(written);
    return { when: 'before', connection: 'kept', meanwhile: () => promise };
  });
  const areHeld = eventually('every commit to be held', () => held.size === wanted.length);
  return { areHeld, letGo: resolve };
}

async function refusesConnections({ traffic }: FaultRig): Promise<void> {
  await eventually('new connections to be refused', async () => (await traffic.call('GET', '/healthz')).status === 0);
}

interface SlowEndpoint {
  readonly url: string;
  /** The next request that waits for its answer. */
  called(): Promise<ServerResponse>;
  /** What was sent so far. */
  bodies(): Promise<readonly string[]>;
}

/** A merchant's endpoint that answers when the test does. */
async function startSlowEndpoint(): Promise<SlowEndpoint> {
  const waiting: ServerResponse[] = [];
  const bodies: Promise<string>[] = [];
  const server = createServer((request, response) => {
    bodies.push(request.toArray().then((chunks) => Buffer.concat(chunks).toString()));
    waiting.push(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    called: () => eventually('the endpoint to be called', () => waiting.shift()),
    bodies: () => Promise.all(bodies),
  };
}
