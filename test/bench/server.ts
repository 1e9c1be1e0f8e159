import { createHash, timingSafeEqual } from 'node:crypto';
import express from 'express';
import { PgBoss } from 'pg-boss';
import Stripe from 'stripe';
import { z } from 'zod';
import { startWorker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { createPool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb } from '../../src/web.ts';
import { STRIPE_SECRET } from '../support/signing.ts';

/**
 * The processes that the benchmark measures, one a run of this file: our web process or worker, and what a competent first
 * version would be, with the same guarantees and the minimal SQL: one transaction a posting, one `boss.send` and one
 * transaction an event, one query a read.
 */
const environment = z.object({
  ROLE: z.enum(['web', 'worker', 'baseline-web', 'baseline-worker']),
  DATABASE_URL: z.string(),
  API_KEY: z.string(),
  SVIX_TOKEN: z.string().default(''),
  SVIX_SERVER_URL: z.string().default(''),
});
const { ROLE, DATABASE_URL: databaseUrl, API_KEY, ...svix } = environment.parse(process.env);
const logger = createLogger('error', ROLE);
const ours = () =>
  loadConfig({
    PORT: '0',
    API_KEY,
    LOG_LEVEL: 'error',
    RATE_LIMIT_PER_MINUTE: '0',
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    ...svix,
  });
const pool = () => createPool({ databaseUrl, applicationName: ROLE, maxConnections: 16, logger });
const BASELINE_QUEUE = 'baseline-event';

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
  readonly amount: number;
  readonly isCredit: boolean;
  readonly eventType: string;
  readonly key: string;
}

/** Lock, check, write the entry, move the balance: the textbook transaction. */
async function writeAlone(
  db: ReturnType<typeof pool>,
  { customerId, amount, isCredit, eventType, key }: Write,
): Promise<number | null> {
  return transaction(db, async (tx) => {
    const { rows } = await tx.query<{ balance: number; version: number }>(
      "select balance, version from wallet where merchant_id = 'bus_default' and customer_id = $1 and currency = 'USD' for update",
      [customerId],
    );
    const wallet = rows[0];
    if (wallet === undefined) return null;
    const after = wallet.balance + (isCredit ? amount : -amount);
    if (after < 0) return null;
    const now = new Date().toISOString();
    await tx.query(
      `insert into entry (merchant_id, customer_id, currency, seq, amount, is_credit, event_type, before_balance, after_balance, idempotency_key, fingerprint, created_at)
       values ('bus_default', $1, 'USD', $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
      [
        customerId,
        wallet.version + 1,
        amount,
        isCredit,
        eventType,
        wallet.balance,
        after,
        key,
        createHash('sha256').update(key).digest(),
        now,
      ],
    );
    await tx.query(
      "update wallet set balance = $2, version = version + 1, updated_at = $3 where merchant_id = 'bus_default' and customer_id = $1 and currency = 'USD'",
      [customerId, after, now],
    );
    return after;
  });
}

async function startBaselineWeb(): Promise<string> {
  const db = pool();
  const boss = new PgBoss({ connectionString: databaseUrl, migrate: false, supervise: false, schedule: false, max: 8 });
  boss.on('error', (error) => logger.error(error));
  await boss.start();
  await boss.createQueue(BASELINE_QUEUE, { notify: true });
  const app = express();
  app.post('/webhooks/stripe', express.raw({ type: () => true }), async (request, response) => {
    const event = Stripe.webhooks.constructEvent(
      request.body,
      String(request.headers['stripe-signature']),
      STRIPE_SECRET,
    );
    await boss.send(BASELINE_QUEUE, JSON.parse(JSON.stringify(event)));
    response.json({ received: true });
  });
  const expected = createHash('sha256').update(`Bearer ${API_KEY}`).digest();
  app.use((request, response, next) => {
    const given = createHash('sha256').update(String(request.headers.authorization)).digest();
    if (timingSafeEqual(given, expected)) next();
    else response.sendStatus(401);
  });
  app.post('/customers/:id/wallets/ledger-entries', express.json(), async (request, response) => {
    const entry = entrySchema.parse(request.body);
    const after = await writeAlone(db, {
      customerId: request.params.id,
      amount: entry.amount,
      isCredit: entry.entry_type === 'credit',
      eventType: 'merchant_adjustment',
      key: entry.idempotency_key,
    });
    response
      .status(after === null ? 400 : 200)
      .json({ customer_id: request.params.id, currency: 'USD', balance: after });
  });
  app.get('/customers/:id/wallets', async (request, response) => {
    const { rows } = await db.query(
      "select customer_id, currency, balance, created_at, updated_at from wallet where merchant_id = 'bus_default' and customer_id = $1",
      [request.params.id],
    );
    response.json({ items: rows });
  });
  return new Promise((resolve) => {
    const server = app.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`);
    });
  });
}

async function startBaselineWorker(): Promise<void> {
  const db = pool();
  const boss = new PgBoss({
    connectionString: databaseUrl,
    migrate: false,
    supervise: false,
    schedule: false,
    useListenNotify: true,
    max: 10,
  });
  boss.on('error', (error) => logger.error(error));
  await boss.start();
  await boss.createQueue(BASELINE_QUEUE, { notify: true });
  // Fetched by the hundred, so that it is the transaction a event that is compared, not the polling interval.
  await boss.work(
    BASELINE_QUEUE,
    {
      batchSize: 100,
      localConcurrency: 2,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
      notifyPollingIntervalSeconds: 0.5,
    },
    async (jobs) => {
      for (const job of jobs) {
        const { id, amount_received: amount, metadata } = paymentSchema.parse(job.data).data.object;
        await writeAlone(db, {
          customerId: metadata.wallet_customer_id,
          amount,
          isCredit: true,
          eventType: 'payment',
          key: `payment_${id}`,
        });
      }
    },
  );
}

async function start(): Promise<string> {
  switch (ROLE) {
    case 'web':
      return (await startWeb({ config: ours(), databaseUrl, logger, clock: systemClock })).url;
    case 'worker':
      await startWorker({ config: ours(), databaseUrl, logger, clock: systemClock });
      return '';
    case 'baseline-web':
      return startBaselineWeb();
    case 'baseline-worker':
      await startBaselineWorker();
      return '';
  }
}

const url = await start();
process.send?.({ url });
process.on('disconnect', () => process.exit(0));
