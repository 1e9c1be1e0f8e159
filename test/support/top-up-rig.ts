import { type ConnectCharger, connectChargers } from '../../src/charging/connect.ts';
import { GatewayMinimums } from '../../src/charging/minimums.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { postBatch } from '../../src/ledger/store.ts';
import type { ConnectSource } from '../../src/merchants/api-account.ts';
import type { Source } from '../../src/merchants/source.ts';
import { connectWith } from '../../src/reconciliation/connect.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { type ChargeServices, chargeTopUps } from '../../src/top-ups/charge.ts';
import { putRule } from '../../src/top-ups/manage.ts';
import { Pace } from '../../src/top-ups/pace.ts';
import type { TopUpTerms } from '../../src/top-ups/rule.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { startInbox, type TestInbox, testSource } from './inbox.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from './ledger.ts';
import { stripePayment } from './signing.ts';
import { StripeCharging } from './stripe-charging.ts';

export const CHARGE_KEY = 'sk_test_ChokinCharges';
const START = new Date('2026-03-10T12:00:00Z');

const TERMS: Omit<TopUpTerms, 'payment'> = {
  ...{ enabled: true, threshold: 1000, mode: 'amount', amount: 2000, target: null, maxCharge: 2000 },
  ...{ monthlyCap: 100_000, maxPerDay: 10, minIntervalSeconds: 600, timeZone: 'UTC' },
  consent: { acceptedAt: START, textVersion: '1' },
};

interface Attempt {
  readonly topup_id: string;
  readonly state: string;
  readonly origin: string;
  readonly amount: number;
  readonly payment_id: string | null;
}

interface Told {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface RigOptions {
  /** Of the source that charges. */
  readonly source?: Partial<Source>;
  /** Others beside it. */
  readonly others?: readonly Source[];
  /** Of its own unless one is given. */
  readonly database?: TestDatabase;
}

/** Wallets that are filled up by a double of Stripe, at a time that the test sets. */
export class TopUpRig {
  readonly database: TestDatabase;
  readonly inbox: TestInbox;
  readonly stripe: StripeCharging;
  readonly source: Source;
  readonly logged: string[] = [];
  readonly #logger = createLogger('info', 'test', { write: (line) => this.logged.push(line) });
  now = START;
  #customers = 0;
  readonly #apiUrl: string;

  private constructor(parts: Pick<TopUpRig, 'database' | 'inbox' | 'stripe' | 'source'> & { readonly apiUrl: string }) {
    this.database = parts.database;
    this.inbox = parts.inbox;
    this.stripe = parts.stripe;
    this.source = parts.source;
    this.#apiUrl = parts.apiUrl;
    this.stripe.now = () => Math.floor(this.now.getTime() / 1000);
    Object.assign(this.inbox.services, { clock: { now: () => this.now } });
  }

  static async start({ source: changes = {}, others = [], database: given }: RigOptions = {}): Promise<TopUpRig> {
    const database = given ?? (await createTestDatabase());
    const stripe = new StripeCharging(CHARGE_KEY);
    const apiUrl = await stripe.start();
    const keys = { apiKey: new Secret(CHARGE_KEY), chargeKey: new Secret(CHARGE_KEY) };
    const source = testSource('stripe', { ...keys, ...changes });
    const inbox = await startInbox(database, { sources: [source, ...others] });
    return new TopUpRig({ database, inbox, stripe, source, apiUrl });
  }

  async stop(): Promise<void> {
    await this.inbox.stop();
    await this.stripe.stop();
    await this.database.drop();
  }

  /** What a worker charges with; each one asks anew whose account a key opens. */
  services(changes: Partial<ChargeServices> = {}): ChargeServices {
    const { pool, sources } = this.inbox.services;
    return {
      ...{ pool, sources, logger: this.#logger, clock: { now: () => this.now }, pace: new Pace(1000) },
      connect: this.connectTo(),
      minimums: new GatewayMinimums(new Map([['stripe/USD', 50]])),
      heal: async () => {},
      onPosted: () => {},
      signal: new AbortController().signal,
      ...changes,
    };
  }

  /** Opens chargers; with another double, its account is not that of the source's events. */
  connectTo(chargeUrl = this.#apiUrl): ConnectCharger {
    const { pool } = this.inbox.services;
    const ofEvents = connectWith({ apiUrls: new Map([['stripe', this.#apiUrl]]) });
    const ofCharges = connectWith({ apiUrls: new Map([['stripe', chargeUrl]]) });
    const connectApi: ConnectSource = (access) =>
      access.apiKey === this.source.apiKey ? ofEvents(access) : ofCharges(access);
    const config = { apiUrls: new Map([['stripe', chargeUrl]] as const) };
    return connectChargers({ config, pool, logger: this.#logger, connectApi });
  }

  run(changes: Partial<ChargeServices> = {}) {
    return chargeTopUps(this.services(changes));
  }

  pass(milliseconds: number): void {
    this.now = new Date(this.now.getTime() + milliseconds);
  }

  /** A customer with a balance, a card, and a rule. */
  async begin(terms: Partial<TopUpTerms> = {}, balance = 1100): Promise<WalletKey> {
    this.#customers += 1;
    const [customerId = ''] = await makeCustomers(this.database.pool, [`c${this.#customers}`]);
    const key = { merchantId: MERCHANT, customerId, currency: 'USD' };
    const provider = `cus_s${this.#customers}`;
    this.stripe.addMethod({ id: `pm_${this.#customers}`, customerId: provider, fingerprint: null });
    if (balance > 0) await this.post(key, balance, true);
    const payment = { sourceId: this.source.sourceId, providerCustomerId: provider, paymentMethodId: null };
    await this.putRule(key, { payment, ...terms });
    return key;
  }

  async putRule(key: WalletKey, terms: Partial<TopUpTerms> & Pick<TopUpTerms, 'payment'>): Promise<void> {
    const rule = { ...key, ...TERMS, ...terms, source: this.source };
    await transaction(this.database.pool, (tx) =>
      putRule(tx, rule, { currencies: SETTINGS.currencies, now: this.now }),
    );
  }

  async post({ merchantId, customerId, currency }: WalletKey, amountMinor: number, isCredit: boolean): Promise<void> {
    const one = posting({ merchantId, customerId, currency, amountMinor, isCredit, idempotencyKey: null });
    await transaction(this.database.pool, (tx) => postBatch(tx, [one], { ...SETTINGS, now: this.now }));
  }

  async attempts({ customerId }: Pick<WalletKey, 'customerId'>) {
    const { rows } = await this.database.pool.query<Attempt>(
      'select * from topup where customer_id = $1 order by created_at, topup_id',
      [customerId],
    );
    return rows;
  }

  async told({ customerId }: Pick<WalletKey, 'customerId'>): Promise<readonly Told[]> {
    const { rows } = await this.database.pool.query<{ payload: string }>(
      "select payload from unsent_message where payload like '%' || $1 || '%' order by since, message_id",
      [customerId],
    );
    return rows.map(({ payload }) => JSON.parse(payload));
  }

  intentsOf({ customerId }: Pick<WalletKey, 'customerId'>) {
    return this.stripe.intents.filter(({ metadata }) => metadata.wallet_customer_id === customerId);
  }

  /** Stripe tells of the customer's newest payment. */
  async tellPaid(key: WalletKey, more: Parameters<typeof stripePayment>[0] = {}): Promise<void> {
    const intent = this.intentsOf(key).at(-1);
    if (intent === undefined) throw new Error('nothing was paid');
    const { id: paymentId, amount, currency, metadata } = intent;
    await this.inbox.play([stripePayment({ paymentId, amount, currency, metadata, ...more })]);
  }
}
