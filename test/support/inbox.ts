import type { PgBoss } from 'pg-boss';
import { workApplyProviderEvent } from '../../jobs/apply-provider-event.ts';
import { workApplyProviderEvents } from '../../jobs/apply-provider-events.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createPool } from '../../src/db/pool.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import type { ApplyJob, ApplyResult } from '../../src/inbox/apply-jobs.ts';
import { applySharedJobs, type SharedJob } from '../../src/inbox/apply-shared.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import type { EventState } from '../../src/inbox/events.ts';
import { type Receipt, Receiver } from '../../src/inbox/receive.ts';
import { sharedEvents } from '../../src/inbox/shared-jobs.ts';
import { type LedgerSettings, readWallets } from '../../src/ledger/store.ts';
import type { Source } from '../../src/merchants/source.ts';
import type { Sources } from '../../src/merchants/sources.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { defaultMetadataRule } from '../../src/providers/shared/metadata-rule.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { TestDatabase } from './database.ts';
import { BONUS_RATIO, MERCHANT, SETTINGS } from './ledger.ts';
import { DODO_SECRET, RAZORPAY_SECRET, STRIPE_SECRET, signDodo, signRazorpay, signStripe } from './signing.ts';
import {
  LEMONSQUEEZY_SECRET,
  PADDLE_SECRET,
  POLAR_SECRET,
  signLemonSqueezy,
  signPaddle,
  signPolar,
} from './signing-more.ts';
import {
  ADYEN_HEADERS,
  ADYEN_HMAC_KEY,
  CASHFREE_SECRET,
  PAYPAL_WEBHOOK_ID,
  signCashfree,
  signPaypal,
  testPaypal,
} from './signing-paypal-adyen-cashfree.ts';
import { eventually } from './wait.ts';

export const SIGNERS = {
  stripe: signStripe,
  dodo: signDodo,
  razorpay: signRazorpay,
  paddle: signPaddle,
  polar: signPolar,
  lemonsqueezy: signLemonSqueezy,
  paypal: signPaypal,
  adyen: () => ADYEN_HEADERS,
  cashfree: signCashfree,
};
export const SECRETS = {
  stripe: STRIPE_SECRET,
  dodo: DODO_SECRET,
  razorpay: RAZORPAY_SECRET,
  paddle: PADDLE_SECRET,
  polar: POLAR_SECRET,
  lemonsqueezy: LEMONSQUEEZY_SECRET,
  paypal: PAYPAL_WEBHOOK_ID,
  adyen: ADYEN_HMAC_KEY,
  cashfree: CASHFREE_SECRET,
};

export function testSource(provider: ProviderName, overrides: Partial<Source> = {}): Source {
  return {
    merchantId: MERCHANT,
    sourceId: `src_${provider}`,
    provider,
    mode: 'test',
    unreadableSecrets: 0,
    secrets: [new Secret(SECRETS[provider])],
    defaultPurpose: 'topup',
    metadata: defaultMetadataRule(provider),
    refunds: 'auto',
    disputes: 'hold',
    customerLinkRule: 'create',
    capture: 'automatic',
    apiKey: null,
    chargeKey: null,
    enabled: true,
    ...overrides,
  };
}

/** Sources by a list; the first of a provider is its default. */
export function testSources(sources: readonly Source[]): Sources {
  return {
    byProvider: (provider) => sources.find((source) => source.provider === provider) ?? null,
    byId: async (_db, { provider, sourceId }) =>
      sources.find((source) => source.provider === provider && source.sourceId === sourceId) ?? null,
    find: async (_db, merchantId, sourceId) =>
      sources.find((source) => source.merchantId === merchantId && source.sourceId === sourceId) ?? null,
  };
}

export interface TestInbox {
  readonly boss: PgBoss;
  readonly services: ApplyServices;
  readonly receiver: Receiver;
  /** Signs and delivers a body as the source's provider would. */
  deliver(body: string, source?: Source): Promise<Receipt>;
  /** Waits until no event is pending. */
  settled(): Promise<void>;
  /** Delivers bodies one after another, each applied before the next. */
  play(bodies: readonly string[], source?: Source): Promise<void>;
  /** How many events are in each state. */
  states(): Promise<Partial<Record<EventState, number>>>;
  balance(customerId: string, currency?: string): Promise<number | undefined>;
  stop(): Promise<void>;
}

/** From now on events get a job each, as while a worker of the release before may run. */
export async function giveEachEventItsJob({ pool }: TestDatabase): Promise<void> {
  await pool.query("update installation set event_jobs_from = 'infinity'");
}

/** Takes up jobs of many events that are due, as a worker does. */
export async function claimShared(boss: PgBoss, batchSize: number): Promise<readonly SharedJob[]> {
  const options = { batchSize, includeMetadata: true } as const;
  const jobs = await boss.fetch<Parameters<typeof sharedEvents>[0]>('apply-provider-events', options);
  return jobs.map(({ id, retryCount, priority, data }) => ({ id, retryCount, ...sharedEvents(data, priority) }));
}

/** The same for jobs of one event. */
export async function claimSingle(boss: PgBoss, batchSize: number): Promise<readonly ApplyJob[]> {
  const options = { batchSize, includeMetadata: true } as const;
  const jobs = await boss.fetch<{ eventId: string }>('apply-provider-event', options);
  return jobs.map(({ id, retryCount, retryLimit, priority, data }) => {
    return { id, retryCount, retryLimit, priority, ...data };
  });
}

/** Does once with the jobs that are due what a worker with these services does. @returns how each ended; none if none was due */
export async function applyDueOnce(services: ApplyServices, batchSize = 500): Promise<readonly ApplyResult[]> {
  const [shared, single] = [await claimShared(services.boss, batchSize), await claimSingle(services.boss, batchSize)];
  const results = shared.length === 0 ? [] : [...(await applySharedJobs(services, shared))];
  if (single.length > 0) results.push(...(await applyEvents(services, single)));
  return results;
}

/** A receiver and a worker that applies events, on one database. */
export async function startInbox(
  database: TestDatabase,
  options: {
    sources?: readonly Source[];
    waitSeconds?: number;
    namingWaitSeconds?: number;
    works?: boolean;
    /** Whether the events of a commit share jobs, or have one each as in the release before; they do unless given. */
    sharesJobs?: boolean;
    /** Of what applies events. */
    clock?: Clock;
    settings?: LedgerSettings;
  } = {},
): Promise<TestInbox> {
  const logger = createLogger('silent', 'test');
  const sources = options.sources ?? [testSource('stripe'), testSource('dodo'), testSource('razorpay')];
  const [defaultSource = testSource('stripe')] = sources;
  const webPool = createPool({
    databaseUrl: database.webUrl,
    applicationName: 'test-web',
    maxConnections: 10,
    logger,
  });
  const pool = createPool({
    databaseUrl: database.workerUrl,
    applicationName: 'test-worker',
    maxConnections: 10,
    logger,
  });
  const boss = createBoss({
    databaseUrl: database.workerUrl,
    directUrl: database.directUrl,
    applicationName: 'test-boss',
    maxConnections: 6,
    works: true,
    logger,
  });
  await boss.start();
  const services: ApplyServices = {
    pool,
    boss,
    sources: testSources(sources),
    settings: options.settings ?? SETTINGS,
    clock: options.clock ?? systemClock,
    logger,
    maxBonusRatio: BONUS_RATIO,
    waitSeconds: options.waitSeconds ?? 900,
    namingWaitSeconds: options.namingWaitSeconds ?? 0,
    onPosted: () => {},
  };
  if (options.sharesJobs === false) await giveEachEventItsJob(database);
  if (options.works !== false) {
    await workApplyProviderEvents(boss, services);
    await workApplyProviderEvent(boss, services);
  }
  const providers = { ...PROVIDERS, paypal: testPaypal() };
  const receiver = new Receiver({ pool: webPool, boss, clock: systemClock, logger, providers });
  const deliver = (body: string, source = defaultSource) =>
    receiver.receive(source, { rawBody: Buffer.from(body), headers: { ...SIGNERS[source.provider](body) } });
  const settled = async () => {
    await eventually('every event to be settled', async () => {
      const { rowCount } = await database.pool.query("select 1 from provider_event where state = 'pending' limit 1");
      return rowCount === 0;
    });
  };
  return {
    boss,
    services,
    receiver,
    deliver,
    settled,
    play: async (bodies, source) => {
      for (const body of bodies) {
        await deliver(body, source);
        await settled();
      }
    },
    states: async () => {
      const { rows } = await database.pool.query<{ state: EventState; count: number }>(
        'select state, count(*) from provider_event group by 1',
      );
      return Object.fromEntries(rows.map((row) => [row.state, row.count]));
    },
    balance: async (customerId, currency = 'USD') => {
      const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
      return wallets.find((wallet) => wallet.currency === currency)?.balance;
    },
    stop: async () => {
      await boss.stop({ graceful: true, timeout: 5_000 });
      await Promise.all([pool.end(), webPool.end()]);
    },
  };
}
