import { expect } from 'vitest';
import { startWorker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { freePort } from '../../src/db/embedded.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb } from '../../src/web.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { FaultTraffic } from './fault-traffic.ts';
import { expectBooksToAgree } from './ledger.ts';
import { newMerchantKey } from './merchant-key.ts';
import { type ServiceProcess, startProcess } from './process.ts';
import { STRIPE_SECRET } from './signing.ts';
import { StatementProxy } from './statement-proxy.ts';
import { eventually } from './wait.ts';

const API_KEY = 'a-key-for-faults-of-more-than-32-characters';

/** The service must be well again by itself this long after a fault is over. */
export const RECOVERY_MS = 30_000;

/**
 * The service on a database of its own, which it reaches through a {@link StatementProxy}, and the traffic around it. The
 * processes are started by the test, in children that can be killed, or in this process, which is quicker.
 */
export class FaultRig {
  readonly database: TestDatabase;
  readonly proxy: StatementProxy;
  readonly traffic: FaultTraffic;
  /** Of the web and worker processes. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #closing: (() => Promise<unknown>)[] = [];
  readonly #crashes: string[] = [];

  private constructor(
    database: TestDatabase,
    proxy: StatementProxy,
    port: number,
    environment: Readonly<Record<string, string>>,
  ) {
    this.database = database;
    this.proxy = proxy;
    this.traffic = new FaultTraffic(`http://127.0.0.1:${port}`, API_KEY);
    this.environment = {
      DATABASE_URL: proxy.url,
      PORT: String(port),
      API_KEY,
      STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
      ALLOW_PRIVATE_ENDPOINTS: 'true',
      LOG_LEVEL: 'info',
      // Workers of one database come by several proxies, each of which looks like a copy elsewhere.
      SENDING: 'on',
      ...environment,
    };
  }

  /** Database (one of its own unless given), proxy and traffic; `environment` is for the processes started later. */
  static async start(
    environment: Readonly<Record<string, string>> = {},
    given: TestDatabase | null = null,
  ): Promise<FaultRig> {
    const database = given ?? (await createTestDatabase());
    const proxy = await StatementProxy.start(database.url);
    return new FaultRig(database, proxy, await freePort(), environment);
  }

  /** The same for another merchant, whose API key is made on the way. */
  async trafficOf(merchantId: string): Promise<FaultTraffic> {
    return new FaultTraffic(this.traffic.baseURL, await newMerchantKey(this.database.pool, merchantId));
  }

  /** A web process, ready. It always has the same address, so that callers find the one that follows a killed one. */
  async startWeb(environment: Readonly<Record<string, string>> = {}): Promise<ServiceProcess> {
    const web = this.spawn('src/web.ts', environment);
    await web.printed('Listening');
    return web;
  }

  async startWorker(environment: Readonly<Record<string, string>> = {}): Promise<ServiceProcess> {
    const worker = this.spawn('jobs/worker.ts', environment);
    await worker.printed('the worker is ready');
    return worker;
  }

  /** A process that is not waited for, since it will not live to be ready. `environment` goes before the rig's. */
  spawn(script: 'src/web.ts' | 'jobs/worker.ts', environment: Readonly<Record<string, string>> = {}): ServiceProcess {
    const child = startProcess(script, { ...this.environment, ...environment });
    this.#closing.push(() => child.end('SIGKILL'));
    child.exited.then((how) => {
      // What was asked to end ends with 0 or by a signal.
      if (how !== 0 && typeof how === 'number')
        this.#crashes.push(`${script} exited with ${how}: ${child.output().slice(-2_000)}`);
    });
    return child;
  }

  /** Web within this process; it compares every answer with its documented schema. */
  async startWebHere(): Promise<void> {
    const web = await startWeb({ ...this.#optionsHere(), print: () => {}, checkResponses: true });
    this.#closing.push(() => web.close());
  }

  async startWorkerHere(): Promise<void> {
    const worker = await startWorker(this.#optionsHere());
    this.#closing.push(() => worker.close());
  }

  /**
   * The end of every test of a fault, with web and worker running: within `recoveryMs` from now, unattended, the service
   * is ready, every delivery that was acknowledged is applied or parked, every customer has what is owed, every wallet is
   * announced up to its version; and the books agree.
   */
  async expectAllWell(recoveryMs = RECOVERY_MS): Promise<void> {
    let wrong: readonly string[] = [];
    const isWell = async () => {
      wrong = await this.whatIsWrong();
      return wrong.length === 0;
    };
    await eventually('the service to be well', isWell, recoveryMs).catch(() => {});
    expect(wrong).toEqual([]);
    await expectBooksToAgree(this.database.pool);
  }

  /** What is still in the way of {@link expectAllWell}, in words. */
  async whatIsWrong(): Promise<readonly string[]> {
    const { acknowledged, owed } = this.traffic;
    const { status } = await this.traffic.call('GET', '/readyz');
    if (status !== 200) return [`/readyz answers ${status}`, ...this.#crashes];
    const { rows } = await this.database.pool.query<{ wrong: string }>(WHAT_IS_WRONG, [
      [...acknowledged],
      [...owed.keys()],
      [...owed.values()],
    ]);
    return [...this.#crashes, ...rows.map((row) => row.wrong)];
  }

  async close(): Promise<void> {
    this.proxy.thaw();
    for (const closeOne of this.#closing.splice(0).reverse()) await closeOne();
    await this.proxy.close();
    await this.database.drop();
  }

  #optionsHere() {
    const { DATABASE_URL: databaseUrl = '', ...environment } = this.environment;
    const logger = createLogger('silent', 'test');
    return { config: loadConfig(environment), databaseUrl, logger, clock: systemClock };
  }
}

const WHAT_IS_WRONG = `
  select format('event %s was acknowledged and is %s', k.id, coalesce(e.state, 'lost')) as wrong
  from unnest($1::text[]) as k (id) left join provider_event e on e.delivery_key = k.id
  where e.state is null or e.state not in ('applied', 'ignored', 'parked')
  union all
  select format('%s holds %s and is owed %s', k.id, w.balance, k.owed)
  from unnest($2::text[], $3::bigint[]) as k (id, owed)
  left join wallet w on w.customer_id = k.id and w.currency = 'USD'
  where w.balance is distinct from k.owed
  union all
  select format('%s/%s is announced up to %s of %s', customer_id, currency, announced_version, version)
  from wallet where announced_version < version or announced_alert_seq < alert_seq
  union all
  select format('%s/%s is still on the list of the unannounced', customer_id, currency) from unannounced_wallet
  union all
  select format('message %s is not sent', message_id) from unsent_message
  limit 20`;
