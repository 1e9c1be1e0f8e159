import { z } from 'zod';
import { refuseUnknownCustomer } from '../../customers/store.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import type { Wallet } from '../../ledger/entry.ts';
import { balanceAt } from '../../ledger/history.ts';
import { setThreshold, type Threshold, thresholdOf } from '../../ledger/low-balance/thresholds.ts';
import { openWallets } from '../../ledger/store.ts';
import { usdTotal } from '../../ledger/usd-total.ts';
import { MAX_AMOUNT_MINOR, type Rate } from '../../money.ts';
import { walletResponse, walletShape } from '../../views/entry.ts';
import { customerParams, minorUnits, moment, timestamp, walletParams } from '../../views/fields.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';

const tag = 'Wallets';

const walletListShape = z.strictObject({
  items: z.array(walletShape),
  total_balance_usd: z.number().meta({ description: 'US cents, at the rates the operator set; rounded once.' }),
  unconverted_currencies: z.array(z.string()).optional().meta({
    description: 'Currencies without a rate, whose wallets the total leaves out. Absent if there are none.',
  }),
});

/** A customer's wallets with their total. @param rates dollars for one unit of a currency */
export function walletListResponse(
  wallets: readonly Wallet[],
  rates: ReadonlyMap<string, Rate>,
): z.output<typeof walletListShape> {
  const { totalMinor, unconverted } = usdTotal(wallets, rates);
  const left = unconverted.length === 0 ? {} : { unconverted_currencies: [...unconverted] };
  return { items: wallets.map(walletResponse), total_balance_usd: totalMinor, ...left };
}

const list = merchantRoute({
  method: 'get',
  path: '/customers/{customer_id}/wallets',
  scope: 'read',
  tag,
  summary: "List a customer's wallets and their total in US cents",
  params: customerParams,
  response: {
    description: 'The wallets by currency.',
    schema: walletListShape,
  },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services, merchantId, params }) {
    const wallets = await walletsOf(services, merchantId, params.customer_id);
    if (wallets.length === 0) refuseUnknownCustomer(params.customer_id);
    return walletListResponse(wallets, services.config.FX_RATES_USD);
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: '/customers/{customer_id}/wallets/{currency}',
  scope: 'read',
  tag,
  summary: 'Retrieve one wallet, now or as it was at a moment',
  params: walletParams,
  query: z.strictObject({ at: moment.optional() }),
  response: {
    description: 'The wallet. With `at`: its balance and version after the last entry written by then.',
    schema: walletShape.extend({
      version: z.int().min(0).meta({ description: 'How many entries the wallet has, or had.' }),
      at: timestamp.optional(),
    }),
  },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services, merchantId, params, query: { at } }) {
    const wallet = await findWallet(services, merchantId, params.customer_id, params.currency);
    const now = { ...walletResponse(wallet), version: wallet.version };
    if (at === undefined) return now;
    const past = await balanceAt(autocommit(services.pool), wallet, at);
    return { ...now, ...past, at: at.toISOString() };
  },
});

const threshold = z
  .strictObject({
    customer_id: z.string(),
    currency: z.string(),
    threshold: minorUnits.nullable().meta({ description: 'Minor units; a balance below it is low.' }),
    source: z.enum(['wallet', 'default', 'none']).meta({
      description: "Whether the threshold is the wallet's own, the currency's default, or there is none.",
    }),
  })
  .meta({ id: 'LowBalanceThreshold' });

const thresholdPath = '/customers/{customer_id}/wallets/{currency}/low-balance-threshold';
const THRESHOLD_ERROR = `wants a whole number of minor units from 0 to ${MAX_AMOUNT_MINOR}, or null for the default`;

const retrieveThreshold = merchantRoute({
  method: 'get',
  path: thresholdPath,
  scope: 'read',
  tag,
  summary: 'Retrieve the low-balance threshold of a wallet',
  params: walletParams,
  response: { description: 'The threshold in force.', schema: threshold },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services, merchantId, params }) {
    const wallet = await findWallet(services, merchantId, params.customer_id, params.currency);
    return thresholdResponse(params, thresholdOf(services.settings.rule, wallet));
  },
});

const changeThreshold = merchantRoute({
  method: 'put',
  path: thresholdPath,
  scope: 'write',
  tag,
  summary: 'Set the low-balance threshold of a wallet; null for the default of its currency',
  params: walletParams,
  body: z.strictObject({
    threshold: z.int({ error: THRESHOLD_ERROR }).min(0, { error: THRESHOLD_ERROR }).nullable(),
  }),
  response: { description: 'The threshold in force from now on.', schema: threshold },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services: { pool, settings, clock, ledger }, merchantId, params, body }) {
    const key = { merchantId, customerId: params.customer_id, currency: params.currency };
    const set = await transaction(pool, (tx) => setThreshold(tx, key, body.threshold, settings, clock.now()));
    if (set === null) return noWallet(await ledger.wallets(merchantId, params.customer_id), params);
    return thresholdResponse(params, set);
  },
});

type WalletParams = z.output<typeof walletParams>;

function thresholdResponse(params: WalletParams, { threshold: value, source }: Threshold) {
  return { ...params, threshold: value, source };
}

/**
 * Every wallet of a customer; none means no customer, since each has wallets from the start. A currency that was configured
 * after that gets its wallet here, unless an entry came first.
 */
async function walletsOf(
  { ledger, pool, settings, clock, onPosted }: Services,
  merchantId: string,
  customerId: string,
): Promise<readonly Wallet[]> {
  const wallets = await ledger.wallets(merchantId, customerId);
  const present = new Set(wallets.map((wallet) => wallet.currency));
  if (wallets.length === 0 || settings.currencies.isSubsetOf(present)) return wallets;
  await transaction(pool, (tx) => openWallets(tx, [{ merchantId, customerId }], settings.currencies, clock.now()));
  onPosted();
  return ledger.wallets(merchantId, customerId);
}

async function findWallet(
  services: Services,
  merchantId: string,
  customerId: string,
  currency: string,
): Promise<Wallet> {
  const wallets = await walletsOf(services, merchantId, customerId);
  const found = wallets.find((wallet) => wallet.currency === currency);
  return found ?? noWallet(wallets, { customer_id: customerId, currency });
}

function noWallet(wallets: readonly Wallet[], { customer_id, currency }: WalletParams): never {
  if (wallets.length === 0) return refuseUnknownCustomer(customer_id);
  return refuse('NOT_FOUND', `The customer has no wallet in ${currency}.`);
}

export const walletRoutes: readonly Route[] = [list, retrieve, retrieveThreshold, changeThreshold];
