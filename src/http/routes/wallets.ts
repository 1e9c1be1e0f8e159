import { z } from 'zod';
import { refuseUnknownCustomer } from '../../customers/store.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import type { Wallet, WalletKey } from '../../ledger/entry.ts';
import { balanceAt } from '../../ledger/history.ts';
import { nextExpiry } from '../../ledger/lots/read.ts';
import { setThreshold, type Threshold, thresholdOf } from '../../ledger/low-balance/thresholds.ts';
import { openWallets } from '../../ledger/open-wallets.ts';
import { MAX_AMOUNT_MINOR } from '../../money.ts';
import { EXAMPLE, EXAMPLE_ENTRY, EXAMPLE_LOT, EXAMPLE_WALLET } from '../../views/examples.ts';
import { customerParams, minorUnits, moment, timestamp, walletParams } from '../../views/fields.ts';
import {
  walletListResponse,
  walletListShape,
  walletLotFields,
  walletLots,
  walletResponse,
  walletShape,
} from '../../views/wallet.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { turnAway } from '../kit/turn-away.ts';

const tag = 'Wallets';

const list = merchantRoute({
  method: 'get',
  path: '/customers/{customer_id}/wallets',
  scope: 'read',
  takesTurns: false,
  tag,
  summary: "List a customer's wallets and their total in US cents",
  description:
    'One wallet for each currency of the service; those of a new currency are made on the way. The total is at the rates that the operator set.',
  params: customerParams,
  response: {
    description: 'The wallets by currency.',
    schema: walletListShape,
    example: { items: [EXAMPLE_WALLET], total_balance_usd: EXAMPLE_WALLET.balance },
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
  takesTurns: false,
  tag,
  summary: 'Retrieve one wallet, now or as it was at a moment',
  description:
    'With `at`, `balance`, `version`, `head` and `updated_at` are those after the last entry written by then. What was held then is not kept, so `held` and `available` are left out, and so are the status and what concerns lots.',
  params: walletParams,
  query: z.strictObject({ at: moment.optional() }),
  response: {
    description: 'The wallet. With `at`: its balance and version after the last entry written by then.',
    schema: walletShape.partial({ held: true, available: true, status: true }).extend({
      version: z.int().min(0).meta({ description: 'How many entries the wallet has, or had.' }),
      at: timestamp.optional(),
      ...walletLotFields,
    }),
    example: {
      ...EXAMPLE_WALLET,
      ...{ version: EXAMPLE_ENTRY.seq, base: 500, in_lots: 300 },
      next_expiry: { at: EXAMPLE_LOT.expires_at, amount: 300 },
    },
  },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services, merchantId, params, query: { at } }) {
    const wallet = await findWallet(services, keyOf(merchantId, params));
    const now = { ...walletResponse(wallet), version: wallet.version };
    if (at === undefined) return { ...now, ...(await lotsIn(services, wallet)) };
    const found = await services.turns.take(merchantId, () => balanceAt(autocommit(services.pool), wallet, at));
    const { held: _, available: __, status: ___, ...lasting } = now;
    const { updatedAt = null, ...past } = found ?? {};
    const updated_at = updatedAt?.toISOString() ?? now.created_at;
    return { ...lasting, ...past, updated_at, at: at.toISOString() };
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
  .meta({
    id: 'LowBalanceThreshold',
    examples: [{ customer_id: EXAMPLE.customerId, currency: EXAMPLE.currency, threshold: 1000, source: 'wallet' }],
  });

const thresholdPath = '/customers/{customer_id}/wallets/{currency}/low-balance-threshold';
const THRESHOLD_ERROR = `wants a whole number of minor units from 0 to ${MAX_AMOUNT_MINOR}, or null for the default`;

const retrieveThreshold = merchantRoute({
  method: 'get',
  path: thresholdPath,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'Retrieve the low-balance threshold of a wallet',
  description:
    "The wallet's own, or the default of its currency. A balance below it is told once, as `wallet.balance.low`.",
  params: walletParams,
  response: { description: 'The threshold in force.', schema: threshold },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services, merchantId, params }) {
    const wallet = await findWallet(services, keyOf(merchantId, params));
    return thresholdResponse(params, thresholdOf(services.settings.rule, wallet));
  },
});

const changeThreshold = merchantRoute({
  method: 'put',
  path: thresholdPath,
  scope: 'write',
  tag,
  summary: 'Set the low-balance threshold of a wallet',
  description: 'It counts from the next change of the balance on. Null takes the default of the currency again.',
  params: walletParams,
  body: z
    .strictObject({ threshold: z.int({ error: THRESHOLD_ERROR }).min(0, { error: THRESHOLD_ERROR }).nullable() })
    .meta({ examples: [{ threshold: 1000 }] }),
  response: { description: 'The threshold in force from now on.', schema: threshold },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services: { pool, settings, clock, ledger }, merchantId, params, body }) {
    const wanted = { ...keyOf(merchantId, params), lowThreshold: body.threshold };
    const set = await transaction(pool, (tx) => setThreshold(tx, wanted, { ...settings, now: clock.now() }));
    if (set === null) return noWallet(await ledger.wallets(merchantId, params.customer_id), params);
    return thresholdResponse(params, set);
  },
});

async function lotsIn({ pool, turns }: Services, wallet: Wallet) {
  const ask = () => nextExpiry(autocommit(pool), wallet);
  return walletLots(wallet, wallet.openLots === 0 ? null : await turns.take(wallet.merchantId, ask));
}

type WalletParams = z.output<typeof walletParams>;

function keyOf(merchantId: string, { customer_id: customerId, currency }: WalletParams): WalletKey {
  return { merchantId, customerId, currency };
}

function thresholdResponse(params: WalletParams, { threshold: value, source }: Threshold) {
  return { ...params, threshold: value, source };
}

/**
 * Every wallet of a customer. If there is none, the customer does not exist, since every customer has wallets from the start.
 * Wallets of currencies that were configured later are opened here, unless an entry opened them before.
 */
async function walletsOf(
  { ledger, pool, settings, clock, onPosted }: Services,
  merchantId: string,
  customerId: string,
): Promise<readonly Wallet[]> {
  const wallets = await ledger.wallets(merchantId, customerId);
  const present = new Set(wallets.map((wallet) => wallet.currency));
  if (wallets.length === 0 || settings.currencies.isSubsetOf(present)) return wallets;
  const opening = { currencies: settings.currencies, now: clock.now() };
  await transaction(pool, (tx) => openWallets(tx, [{ merchantId, customerId }], opening));
  onPosted();
  return ledger.wallets(merchantId, customerId);
}

/**
 * @throws {RefusalError} CUSTOMER_NOT_FOUND
 * @throws {TurnedAwayError} NOT_FOUND for a currency without a wallet
 */
export async function findWallet(services: Services, { merchantId, customerId, currency }: WalletKey): Promise<Wallet> {
  const wallets = await walletsOf(services, merchantId, customerId);
  const found = wallets.find((wallet) => wallet.currency === currency);
  return found ?? noWallet(wallets, { customer_id: customerId, currency });
}

function noWallet(wallets: readonly Wallet[], { customer_id, currency }: WalletParams): never {
  if (wallets.length === 0) return refuseUnknownCustomer(customer_id);
  return turnAway('NOT_FOUND', `The customer has no wallet in ${currency}.`);
}

export const walletRoutes: readonly Route[] = [list, retrieve, retrieveThreshold, changeThreshold];
