import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, type TestContext } from 'vitest';
import { makeBulkyWallets } from '../../support/bulky-wallets.ts';
import { createTestDatabase } from '../../support/database.ts';
import { expectBooksToAgree } from '../../support/ledger.ts';
import { startProcess } from '../../support/process.ts';
import { SVIX_TOKEN } from '../../support/svix-server.ts';
import { eventually } from '../../support/wait.ts';

/**
 * 80 wallets × 100 entries × 75 kB of metadata, 600 MB of news, against a worker with a heap of 256 MB. Read as it was claimed,
 * it ended workers with 512 MB within 66 s, and every one that followed them.
 */
const [WALLETS, ENTRIES] = [80, 100];

it.for(['Svix', 'the embedded sender'])(
  'a worker with a heap of 256 MB tells of 600 MB of news through %s and lives',
  { timeout: 1_200_000 },
  async (sender, { onTestFinished }) => {
    const { url, seqs } = await startReceiver(onTestFinished);
    const database = await createTestDatabase();
    onTestFinished(() => database.drop());
    const customers = await makeBulkyWallets(database.pool, 'bulky', WALLETS, ENTRIES);
    if (sender !== 'Svix') {
      await database.pool.query(
        `insert into webhook_endpoint (merchant_id, endpoint_id, url, description, secret, created_at, updated_at)
         values ('bus_default', 'ep_1', $1, '', 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=', now(), now())`,
        [url],
      );
    }
    const worker = startProcess('jobs/worker.ts', {
      DATABASE_URL: database.url,
      NODE_OPTIONS: '--max-old-space-size=256',
      ALLOW_PRIVATE_ENDPOINTS: 'true',
      LOG_LEVEL: 'info',
      ...(sender === 'Svix' ? { SVIX_TOKEN, SVIX_SERVER_URL: url } : {}),
    });
    onTestFinished(async () => void (await worker.end('SIGKILL')));
    await eventually(
      'every wallet to be announced, and received',
      async () => {
        if (worker.child.exitCode !== null || worker.child.signalCode !== null)
          throw new Error(`the worker ended: ${worker.output().slice(-3_000)}`);
        const { rowCount } = await database.pool.query('select 1 from unannounced_wallet limit 1');
        return rowCount === 0 && customers.every((customerId) => seqs.get(customerId)?.size === ENTRIES);
      },
      900_000,
    );
    const { rows } = await database.pool.query(
      'select 1 from wallet where announced_version < version or announced_alert_seq < alert_seq',
    );
    expect(rows).toEqual([]);
    expect(await worker.end('SIGTERM')).toBe(0);
    await expectBooksToAgree(database.pool);
  },
);

/** Takes what Svix and what a merchant's endpoint take, and keeps of each entry only that it came. */
async function startReceiver(onTestFinished: TestContext['onTestFinished']) {
  const seqs = new Map<string, Set<number>>();
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    for (const [, customerId = '', seq] of text.matchAll(/"ent_(cus_bulky\d+)_USD_(\d+)"/g)) {
      seqs.set(customerId, (seqs.get(customerId) ?? new Set()).add(Number(seq)));
    }
    const path = request.url ?? '';
    response.writeHead(request.method === 'GET' ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answerTo(path, text)));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seqs };
}

function answerTo(path: string, text: string): unknown {
  const now = new Date().toISOString();
  const sent = text === '' ? {} : JSON.parse(text);
  if (new URL(path, 'http://svix').pathname.endsWith('/msg'))
    return { id: 'msg_1', eventType: sent.eventType, payload: {}, timestamp: now };
  return { id: 'app_1', name: 'x', uid: 'x', metadata: {}, ...sent, createdAt: now, updatedAt: now };
}
