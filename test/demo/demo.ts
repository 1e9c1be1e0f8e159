import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import DodoPayments from 'dodopayments';
import { startWorker } from '../../jobs/worker.ts';
import { audit } from '../../src/audit/checks.ts';
import { renderAudit } from '../../src/audit/report.ts';
import { systemClock } from '../../src/clock.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { EXIT_CODES, onStopSignal, type StopSignal } from '../../src/commands/shutdown.ts';
import { loadConfig } from '../../src/config/env.ts';
import { startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createPool } from '../../src/db/pool.ts';
import { createServiceUsers } from '../../src/db/service-users.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { createLogger, type Logger } from '../../src/telemetry/log.ts';
import { startWeb } from '../../src/web.ts';
import { DODO_SECRET, RAZORPAY_SECRET, STRIPE_SECRET } from '../support/signing.ts';
import { LEMONSQUEEZY_SECRET, PADDLE_SECRET, POLAR_SECRET } from '../support/signing-more.ts';
import {
  ADYEN_HMAC_KEY,
  CASHFREE_SECRET,
  PAYPAL_WEBHOOK_ID,
  testPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';
import { MerchantEndpoint } from './merchant.ts';
import { playStory } from './scenes.ts';
import { Story } from './story.ts';

const HELP = `Usage: npm run demo

Plays the whole story on a throw-away database: a merchant, her customers, really signed events of all nine payment
providers, usage, a low balance, a promotion that ends, a purchase by wallet and card, a wallet that fills itself up, refunds, disputes, a forgery, an audit. Exits 0 only if every balance and every
webhook is what it must be. Needs nothing but npm, not even the network; takes well under a minute.`;

/** Ctrl-C, or SIGTERM: nothing is wrong, and nothing may be left behind. */
class StoppedError extends Error {
  readonly signal: StopSignal;

  constructor(signal: StopSignal) {
    super(`stopped by ${signal}`);
    this.signal = signal;
  }
}

/** Rejects at the first signal. */
function stopSignal(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  onStopSignal((signal) => reject(new StoppedError(signal)));
  return promise;
}

/** Starts the real service on a throw-away database and a free port, plays the story, and takes everything down again. */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const story = new Story();
  const startedAt = performance.now();
  const stopped = stopSignal();
  const cleanUps: (() => Promise<unknown>)[] = [];
  try {
    story.note('Starting a throw-away Postgres, the web process and the worker …');
    // Stopped while it starts, it starts first: half of a database server cannot be stopped.
    const service = await startService(cleanUps).catch((error: unknown) =>
      // Ctrl-C at a terminal also reaches the programs that make the database, which then fail.
      Promise.race([stopped, Promise.reject(error)]),
    );
    const total = await Promise.race([play(story, service, cleanUps), stopped]);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    story.title(`Every balance and all ${total} webhooks are what they must be (${seconds} s).`);
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp().catch((error: unknown) => console.error(error));
  }
}

interface Service {
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly databaseUrl: string;
  readonly logger: Logger;
}

async function startService(cleanUps: (() => Promise<unknown>)[]): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-demo-'));
  cleanUps.push(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), settings: ['fsync=off'] });
  cleanUps.push(() => postgres.stop());
  const { databaseUrl } = postgres;
  const logger = createLogger('error', 'demo');
  await migrate(databaseUrl, logger);
  const urls = await createServiceUsers(databaseUrl);
  const apiKey = `ck_test_${randomBytes(24).toString('hex')}`;
  const config = loadConfig({
    PORT: '0',
    API_KEY: apiKey,
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    DODO_WEBHOOK_SECRET: DODO_SECRET,
    RAZORPAY_WEBHOOK_SECRET: RAZORPAY_SECRET,
    PADDLE_WEBHOOK_SECRET: PADDLE_SECRET,
    POLAR_WEBHOOK_SECRET: POLAR_SECRET,
    LEMONSQUEEZY_WEBHOOK_SECRET: LEMONSQUEEZY_SECRET,
    PAYPAL_WEBHOOK_SECRET: PAYPAL_WEBHOOK_ID,
    ADYEN_WEBHOOK_SECRET: ADYEN_HMAC_KEY,
    CASHFREE_WEBHOOK_SECRET: CASHFREE_SECRET,
    // These two sell orders here. A payer could write into their metadata, so the source says it and not the payment.
    DODO_DEFAULT_PURPOSE: 'order',
    POLAR_DEFAULT_PURPOSE: 'order',
    FX_RATES_USD: 'INR:0.0119',
    ALLOW_PRIVATE_ENDPOINTS: 'true',
    LOG_LEVEL: 'error',
  });
  // PayPal signs with a certificate, which is a test's here instead of one from the network.
  const providers = { ...PROVIDERS, paypal: testPaypal() };
  const web = await startWeb({ config, databaseUrl: urls.chokin_web, logger, clock: systemClock, providers });
  cleanUps.push(() => web.close());
  const worker = await startWorker({ config, databaseUrl: urls.chokin_worker, logger, clock: systemClock });
  cleanUps.push(() => worker.close());
  return { baseUrl: web.url, apiKey, databaseUrl, logger };
}

/** @returns how many webhooks the merchant got */
async function play(
  story: Story,
  { baseUrl, apiKey, databaseUrl, logger }: Service,
  cleanUps: (() => Promise<unknown>)[],
): Promise<number> {
  const endpoint = new MerchantEndpoint();
  cleanUps.push(() => endpoint.close());
  const client = new DodoPayments({ baseURL: baseUrl, bearerToken: apiKey });
  await playStory({ story, client, endpoint, baseUrl, apiKey });

  const pool = createPool({ databaseUrl, applicationName: 'demo', maxConnections: 1, logger });
  cleanUps.push(() => pool.end());
  story.title('The audit: every balance recomputed from its entries');
  const report = await audit(autocommit(pool));
  console.log(renderAudit(report));
  if (report.disagreements.length > 0) throw new Error('the books disagree');
  if (endpoint.rejected > 0) throw new Error('the merchant received a webhook whose signature does not verify');
  const besides = endpoint.besides();
  if (besides.length > 0) story.note(`Webhooks besides those of the rows: ${besides.join(', ')}.`);
  return endpoint.total;
}

main().catch((error: unknown) => {
  if (error instanceof StoppedError) {
    console.error('\nThe demo was stopped; its database is gone.');
    // What the story was waiting for would keep the process.
    process.exit(EXIT_CODES[error.signal]);
  }
  console.error(`\nThe demo failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exitCode = 1;
});
