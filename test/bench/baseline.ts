import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import Stripe from 'stripe';
import { z } from 'zod';
import { STRIPE_SECRET } from '../support/signing.ts';
import { BASELINE_QUEUES } from './baseline-database.ts';

/**
 * What a competent first version would be, with the same guarantees and the least SQL: one transaction a posting (lock, check, insert,
 * update), one job and one transaction an event, one query a read, and Express in front. The *naive* one is how it is written
 * first. The *strong* one is the same by somebody who has measured: statements are planned once, events are verified without the
 * SDK and applied by eight at once, and Express has what it does unasked switched off.
 */
type Strength = 'naive' | 'strong';

export interface BaselineOptions {
  readonly strength: Strength;
  readonly databaseUrl: string;
  readonly apiKey: string;
  /** By which its sessions are known. */
  readonly name: string;
}

const SQL = {
  lock: 'select balance, version from wallet where customer_id = $1 and currency = $2 for update',
  insert: `insert into entry
      (customer_id, currency, seq, amount, is_credit, before_balance, after_balance, reason, idempotency_key, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())`,
  update: `update wallet set balance = $3, version = version + 1, updated_at = now()
    where customer_id = $1 and currency = $2`,
  known: 'select * from entry where customer_id = $1 and idempotency_key = $2',
  read: 'select customer_id, currency, balance, updated_at from wallet where customer_id = $1',
} as const;

const entrySchema = z.object({
  amount: z.int().positive(),
  currency: z.string(),
  entry_type: z.enum(['credit', 'debit']),
  reason: z.string().optional(),
  idempotency_key: z.string(),
});

const paymentSchema = z.object({
  data: z.object({
    object: z.object({
      id: z.string(),
      amount_received: z.int(),
      metadata: z.object({ wallet_customer_id: z.string() }),
    }),
  }),
});

interface Write {
  readonly customerId: string;
  readonly currency: string;
  readonly amount: number;
  readonly isCredit: boolean;
  readonly reason: string | null;
  readonly key: string;
}

type Written =
  | { readonly kind: 'written'; readonly balance: number }
  | { readonly kind: 'known'; readonly entry: unknown }
  | { readonly kind: 'refused' };

const walletRow = z.object({ balance: z.string().transform(Number), version: z.string().transform(Number) });

class Store {
  readonly #pool: pg.Pool;
  readonly #isStrong: boolean;

  constructor({ databaseUrl, name, strength }: BaselineOptions) {
    this.#pool = new pg.Pool({ connectionString: databaseUrl, application_name: name, max: 16 });
    this.#isStrong = strength === 'strong';
  }

  #query(name: keyof typeof SQL, values: unknown[]): pg.QueryConfig {
    return { text: SQL[name], values, ...(this.#isStrong ? { name } : {}) };
  }

  async write(write: Write): Promise<Written> {
    const client = await this.#pool.connect();
    try {
      await client.query('begin');
      const written = await this.#writeIn(client, write);
      await client.query(written.kind === 'written' ? 'commit' : 'rollback');
      return written;
    } catch (error) {
      await client.query('rollback');
      if (!(error instanceof pg.DatabaseError) || error.code !== '23505') throw error;
      const { rows } = await client.query(this.#query('known', [write.customerId, write.key]));
      return { kind: 'known', entry: rows[0] };
    } finally {
      client.release();
    }
  }

  async #writeIn(
    client: pg.PoolClient,
    { customerId, currency, amount, isCredit, reason, key }: Write,
  ): Promise<Written> {
    const { rows } = await client.query(this.#query('lock', [customerId, currency]));
    if (rows[0] === undefined) return { kind: 'refused' };
    const { balance: before, version } = walletRow.parse(rows[0]);
    const balance = isCredit ? before + amount : before - amount;
    if (balance < 0) return { kind: 'refused' };
    const entry = [customerId, currency, version + 1, amount, isCredit, before, balance, reason, key];
    await client.query(this.#query('insert', entry));
    await client.query(this.#query('update', [customerId, currency, balance]));
    return { kind: 'written', balance };
  }

  async read(customerId: string): Promise<unknown[]> {
    return (await this.#pool.query(this.#query('read', [customerId]))).rows;
  }
}

async function startBoss({ databaseUrl, name }: BaselineOptions, listens: boolean): Promise<PgBoss> {
  const boss = new PgBoss({
    ...{ connectionString: databaseUrl, application_name: name, max: listens ? 10 : 8 },
    ...{ migrate: false, supervise: false, schedule: false, useListenNotify: listens },
  });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  return boss;
}

/** As Stripe's SDK does it, without what it does besides. */
function verified(body: Buffer, header: string): unknown {
  const parts = new Map(
    header
      .split(',')
      .map((part): [string, string] => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]),
  );
  const expected = createHmac('sha256', STRIPE_SECRET)
    .update(`${parts.get('t')}.`)
    .update(body)
    .digest();
  const given = Buffer.from(parts.get('v1') ?? '', 'hex');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error('the signature is wrong');
  return JSON.parse(body.toString('utf8'));
}

function listen(app: Express): Promise<string> {
  return new Promise((resolve) => {
    const server = app.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      resolve(`http://127.0.0.1:${port}`);
    });
  });
}

export async function startBaselineWeb(options: BaselineOptions): Promise<string> {
  const { strength, apiKey } = options;
  const store = new Store(options);
  const boss = await startBoss(options, false);
  const app = express();
  if (strength === 'strong') app.disable('x-powered-by').disable('etag');
  app.post('/webhooks/stripe', express.raw({ type: () => true }), async (request, response) => {
    const signature = String(request.headers['stripe-signature']);
    const event =
      strength === 'strong'
        ? verified(request.body, signature)
        : JSON.parse(JSON.stringify(Stripe.webhooks.constructEvent(request.body, signature, STRIPE_SECRET)));
    await boss.send(BASELINE_QUEUES[strength], z.record(z.string(), z.unknown()).parse(event));
    response.json({ received: true });
  });
  const expected = createHash('sha256').update(`Bearer ${apiKey}`).digest();
  app.use((request, response, next) => {
    const given = createHash('sha256').update(String(request.headers.authorization)).digest();
    if (timingSafeEqual(given, expected)) next();
    else response.sendStatus(401);
  });
  app.post('/customers/:id/wallets/ledger-entries', express.json(), async (request, response) => {
    const { entry_type, idempotency_key, reason = null, ...rest } = entrySchema.parse(request.body);
    const write = {
      ...rest,
      reason,
      customerId: request.params.id,
      isCredit: entry_type === 'credit',
      key: idempotency_key,
    };
    const written = await store.write(write);
    if (written.kind === 'refused') response.sendStatus(400);
    else if (written.kind === 'known') response.status(409).json(written.entry);
    else response.json({ customer_id: write.customerId, currency: write.currency, balance: written.balance });
  });
  app.get('/customers/:id/wallets', async (request, response) => {
    response.json({ items: await store.read(request.params.id) });
  });
  return listen(app);
}

export async function startBaselineWorker(options: BaselineOptions): Promise<void> {
  const store = new Store(options);
  const boss = await startBoss(options, true);
  // Fetched by the hundred, so that it is the transaction an event that is compared, not the polling interval.
  const polling = { burstWhenBatchFull: true, pollingIntervalSeconds: 0.5, notifyPollingIntervalSeconds: 0.5 };
  const localConcurrency = options.strength === 'strong' ? 8 : 2;
  await boss.work(BASELINE_QUEUES[options.strength], { batchSize: 100, localConcurrency, ...polling }, async (jobs) => {
    for (const job of jobs) {
      const { id, amount_received: amount, metadata } = paymentSchema.parse(job.data).data.object;
      await store.write({
        ...{ customerId: metadata.wallet_customer_id, currency: 'USD', amount, isCredit: true },
        ...{ reason: null, key: `payment_${id}` },
      });
    }
  });
}
