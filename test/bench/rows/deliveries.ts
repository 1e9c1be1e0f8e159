import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool as HttpPool } from 'undici';
import { migrate } from '../../../src/commands/migrate.ts';
import { eventually } from '../../support/wait.ts';
import { customer, forgetNews, newKey, openFor, post } from '../fill.ts';
import { drive } from '../load.ts';
import { beside, type Row, type Run } from '../row.ts';
import { lookAtTables } from './kit.ts';

/** W8: messages of the embedded sender, from the change of many wallets until the last of them has arrived. */

const WALLETS = 2_000;
const IN_A_BATCH = 1_000;
const CONCURRENCY = 16;
const PATIENCE_MS = 120_000;

/** An endpoint that takes everything at once. */
class Sink {
  received = 0;
  /** The newest message, to send more of the kind. */
  sample = '';
  readonly #server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    this.sample = body;
    this.received += 1;
    response.writeHead(204).end();
  });

  async start(): Promise<string> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async until(count: number): Promise<void> {
    await eventually('the messages to arrive', () => this.received >= count, PATIENCE_MS);
    this.received = 0;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

async function sides({ rig }: Run) {
  const sink = new Sink();
  const sinkUrl = await sink.start();
  rig.onStop(async () => sink.stop());
  let url = '';
  const environment = { ALLOW_PRIVATE_ENDPOINTS: 'true' };
  const databaseUrl = await rig.database('bench_outgoing', async (database) => {
    await migrate(database, rig.logger);
    url = (await rig.server('web', database, environment)).url;
    const pool = rig.pool(database);
    await openFor(
      pool,
      Array.from({ length: WALLETS }, (_, index) => customer(index)),
    );
    await forgetNews(pool);
    await pool.query('vacuum analyze');
  });
  await rig.server('worker', databaseUrl, environment);
  const once = (path: string, body: object) => {
    let request: ReturnType<typeof post> | null = post(path, body);
    return drive(url, 1, PATIENCE_MS / 1000, () => {
      const now = request;
      request = null;
      return now;
    });
  };
  await once('/webhook-endpoints', { url: `${sinkUrl}/hook` });
  const ours = async () => {
    const startedAt = performance.now();
    for (let from = 0; from < WALLETS; from += IN_A_BATCH) {
      const entries = Array.from({ length: IN_A_BATCH }, (_, index) => ({
        ...{ customer_id: customer(from + index), amount: 1, currency: 'USD', entry_type: 'credit', reason: 'bench' },
        idempotency_key: newKey(),
      }));
      await once('/ledger-entries/batch', { entries });
    }
    await sink.until(WALLETS);
    return { value: WALLETS / ((performance.now() - startedAt) / 1000), requests: WALLETS };
  };
  const http = new HttpPool(sinkUrl, { connections: CONCURRENCY, pipelining: 1 });
  rig.onStop(() => http.close());
  const bare = async () => {
    const startedAt = performance.now();
    let left = WALLETS;
    const caller = async () => {
      while (left > 0) {
        left -= 1;
        const headers = { 'content-type': 'application/json' };
        const answer = await http.request({ path: '/hook', method: 'POST', headers, body: sink.sample });
        await answer.body.dump();
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, caller));
    await sink.until(WALLETS);
    return { value: WALLETS / ((performance.now() - startedAt) / 1000), requests: WALLETS };
  };
  // Once before the blocks, which gives the bare side a message to copy.
  await ours();
  await bare();
  await lookAtTables(rig.pool(databaseUrl));
  return { ours, 'bare undici': bare };
}

export const DELIVERY_ROWS: readonly Row[] = [
  {
    id: 'W8',
    name: '2,000 wallets changed at once, until the embedded sender has delivered all',
    unit: 'messages/s',
    claims: [beside('bare undici', 0.25)],
    sides,
  },
];
