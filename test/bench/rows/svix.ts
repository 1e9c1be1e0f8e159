import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool as HttpPool } from 'undici';
import { z } from 'zod';
import { migrate } from '../../../src/commands/migrate.ts';
import { createBoss } from '../../../src/db/boss.ts';
import { readInstallationId } from '../../../src/db/installation.ts';
import { createPool, type Pool } from '../../../src/db/pool.ts';
import { autocommit, transaction } from '../../../src/db/transaction.ts';
import { invariant } from '../../../src/errors.ts';
import { newId } from '../../../src/ids.ts';
import { postBatch } from '../../../src/ledger/store.ts';
import { applicationUid } from '../../../src/outgoing/svix/applications.ts';
import type { Logger } from '../../../src/telemetry/log.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../../support/ledger.ts';
import { eventually } from '../../support/wait.ts';
import { beside, type Row } from '../row.ts';

/** Wallets changed at once, each with one message of it. */
const WALLETS = 2_000;
/** As many posts at once as the announcer makes. */
const CONCURRENCY = 16;

/** A Svix server to measure with, and how it is called. */
interface SvixTarget {
  readonly serverUrl: string;
  readonly token: string;
}

function svixTarget(environment: Readonly<Record<string, string | undefined>>): SvixTarget | null {
  const { SVIX_SERVER_URL: serverUrl = '', SVIX_TOKEN: token = '' } = environment;
  return serverUrl === '' || token === '' ? null : { serverUrl, token };
}

/** Raw posts of messages to a Svix server beside the announcer's, on a database and with a worker of their own. */
class SvixBench {
  readonly #pool: Pool;
  readonly #boss: ReturnType<typeof createBoss>;
  readonly #http: HttpPool;
  readonly #headers: Record<string, string>;
  readonly #received = new Set<string>();
  #application = '';
  #sample: Record<string, unknown> = {};
  readonly #sink = createServer(async (request, response) => {
    for await (const _ of request);
    this.#received.add(String(request.headers['webhook-id'] ?? request.headers['svix-id']));
    response.writeHead(204).end();
  });

  private constructor(databaseUrl: string, { serverUrl, token }: SvixTarget, logger: Logger) {
    const applicationName = 'bench-svix';
    this.#pool = createPool({ databaseUrl, applicationName, maxConnections: 2, logger });
    this.#boss = createBoss({ databaseUrl, applicationName, maxConnections: 2, works: false, logger });
    this.#http = new HttpPool(serverUrl, { connections: CONCURRENCY, pipelining: 1 });
    this.#headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  }

  /** Makes the wallets, an application at Svix and an endpoint there that takes everything. */
  static async start(databaseUrl: string, target: SvixTarget, logger: Logger): Promise<SvixBench> {
    const bench = new SvixBench(databaseUrl, target, logger);
    await bench.#prepare();
    return bench;
  }

  async #prepare(): Promise<void> {
    await this.#boss.start();
    await makeCustomers(
      this.#pool,
      Array.from({ length: WALLETS }, (_, index) => `svix${index}`),
    );
    // What merchants hear of new wallets is not what is measured.
    await this.#pool.query('update wallet set announced_version = version');
    await this.#pool.query('delete from unannounced_wallet');
    await this.#pool.query('vacuum analyze');
    await new Promise<void>((resolve) => {
      this.#sink.listen(0, '127.0.0.1', resolve);
    });
    const uid = applicationUid(await readInstallationId(autocommit(this.#pool)), MERCHANT);
    this.#application = uid;
    await this.#call('/api/v1/app?get_if_exists=true', { uid, name: 'Benchmark' });
    const { port } = this.#sink.address() as AddressInfo;
    await this.#call(`/api/v1/app/${uid}/endpoint`, { url: `http://127.0.0.1:${port}/hook` });
  }

  /** Changes every wallet in one transaction; messages a second until none is left to announce. */
  async announcer(): Promise<number> {
    const postings = Array.from({ length: WALLETS }, (_, index) =>
      posting({ customerId: `cus_svix${index}`, amountMinor: 1, reason: 'bench' }),
    );
    await transaction(this.#pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now: new Date() }));
    const startedAt = performance.now();
    await this.#boss.send('announce-balance-changes', {});
    // Asking is work for the machine that is measured: not before nearly all is delivered.
    await eventually('Svix to deliver nearly all', () => this.#received.size >= 0.95 * WALLETS, 300_000);
    const isAnnounced = async () => (await this.#pool.query('select 1 from unannounced_wallet limit 1')).rowCount === 0;
    await eventually('every wallet to be announced', isAnnounced, 300_000);
    return this.#rate(startedAt);
  }

  /** As many messages of the same kind, posted by nothing but a connection pool. */
  async raw(): Promise<number> {
    const bodies = Array.from({ length: WALLETS }, () => {
      const eventId = newId('message');
      return JSON.stringify({
        eventId,
        eventType: 'wallet.balance.changed',
        payload: { ...this.#sample, id: eventId },
      });
    });
    const startedAt = performance.now();
    const caller = async () => {
      for (let body = bodies.pop(); body !== undefined; body = bodies.pop()) {
        await this.#post(`/api/v1/app/${this.#application}/msg`, body);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, caller));
    return this.#rate(startedAt);
  }

  /** Waits for the deliveries as well, which would else take the next block's time. */
  async #rate(startedAt: number): Promise<number> {
    const rate = WALLETS / ((performance.now() - startedAt) / 1000);
    await eventually('Svix to deliver what it took', () => this.#received.size >= WALLETS, 300_000);
    this.#received.clear();
    return rate;
  }

  /** Before the blocks: one round of each side, and a message to copy. */
  async warmUp(): Promise<void> {
    await this.announcer();
    const list = await this.#http.request({
      path: `/api/v1/app/${this.#application}/msg?limit=1&with_content=true`,
      method: 'GET',
      headers: this.#headers,
    });
    const { data } = listed.parse(await list.body.json());
    this.#sample = data[0]?.payload ?? {};
    await this.raw();
  }

  #call(path: string, body: unknown): Promise<void> {
    return this.#post(path, JSON.stringify(body));
  }

  async #post(path: string, body: string): Promise<void> {
    const answer = await this.#http.request({ path, method: 'POST', headers: this.#headers, body });
    const text = await answer.body.text();
    invariant(answer.statusCode < 300, `Svix answered ${answer.statusCode}: ${text.slice(0, 200)}`);
  }

  async close(): Promise<void> {
    await this.#boss.stop({ graceful: false });
    await this.#pool.end();
    await this.#http.close();
    this.#sink.closeAllConnections();
    this.#sink.close();
  }
}

const listed = z.object({ data: z.array(z.object({ payload: z.record(z.string(), z.unknown()) })) });

/** The announcer beside raw posts, where a Svix server is named that may call 127.0.0.1. */
const svix: Row = {
  id: 'Svix',
  name: `${WALLETS.toLocaleString('en')} wallets changed at once, until all are announced`,
  unit: 'messages/s',
  claims: [beside('raw posts', 0.8)],
  sides: async ({ rig }) => {
    const target = svixTarget(process.env);
    if (target === null) throw new Error('there is no Svix server');
    const databaseUrl = await rig.database('bench_svix', async (url) => {
      await migrate(url, rig.logger);
    });
    const started = await SvixBench.start(databaseUrl, target, rig.logger);
    rig.onStop(() => started.close());
    await rig.server('worker', databaseUrl, { SVIX_TOKEN: target.token, SVIX_SERVER_URL: target.serverUrl });
    await started.warmUp();
    const messages = (value: number) => ({ value, requests: WALLETS });
    return {
      ours: async () => messages(await started.announcer()),
      'raw posts': async () => messages(await started.raw()),
    };
  },
};

/** None, which is said loudly, where no server is named. */
export function svixRows(): readonly Row[] {
  if (svixTarget(process.env) !== null) return [svix];
  console.error(
    'NOT MEASURED: messages through Svix. Set SVIX_SERVER_URL and SVIX_TOKEN of a Svix server that may call 127.0.0.1.',
  );
  return [];
}
