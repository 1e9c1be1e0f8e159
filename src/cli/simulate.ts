import type { Command } from 'commander';
import { z } from 'zod';
import { urlOfHolder } from '../config/data-lock.ts';
import { databasePlace } from '../config/database-place.ts';
import type { Config } from '../config/env.ts';
import { requireCustomer } from '../customers/store.ts';
import { refuse } from '../errors.ts';
import type { ProviderEvent } from '../inbox/events.ts';
import { readWallets } from '../ledger/store.ts';
import type { Merchant } from '../merchants/merchant-store.ts';
import type { Source } from '../merchants/source.ts';
import { formatMinor } from '../money.ts';
import { findPayments } from '../payments/lookups.ts';
import type { Payment } from '../payments/payment.ts';
import { minorFromInteger } from '../providers/shared/currency.ts';
import { PROVIDER_NAMES, type ProviderName } from '../providers/shared/names.ts';
import {
  isSimulatedPaymentId,
  newSimulatedPaymentId,
  newSimulatedRefundId,
  SIMULATED_PROVIDERS,
  simulatedDisputeId,
  simulatedEvent,
} from '../providers/shared/simulated-event.ts';
import { DISPUTE_OUTCOMES, type SimulatedMoney } from '../providers/shared/simulated-money.ts';
import { eventResponse } from '../views/event.ts';
import { currency, text } from '../views/fields.ts';
import { asWord, commandsFor, otherMerchant } from './advice.ts';
import { addMerchantCommand, flag, type Result, takes, UsageError } from './command.ts';
import type { CliContext } from './context.ts';
import { giveUp } from './give-up.ts';
import { heading, nextCommands, printable, properties } from './output.ts';
import { followDelivery, sendDelivery } from './send-event.ts';
import { findSimulatedSource, purposeFor, type SimulatedSource } from './simulate-source.ts';
import { duration, id, oneOf, parseAmount } from './values.ts';

const WHAT_IT_DOES =
  'Posts an event to the running service, signed with the secret of the source as the provider signs; the worker applies it. In test mode alone.';

const AMOUNT_ERROR = { error: 'wants an amount in the unit people write, such as 12.50' };
const amountText = z.string(AMOUNT_ERROR);

const target = {
  url: takes(
    '--url <url>',
    'where the service runs (default: where npm start says, or by HOST and PORT)',
    z.url({ protocol: /^https?$/, error: 'wants an http or https URL' }).optional(),
  ),
  wait: takes('--wait <time>', 'how long to wait until it is applied (default: 20s)', duration.prefault('20s')),
  verbose: flag('--verbose', 'show the body that was sent, too'),
};

const provider = (byDefault: string) =>
  takes(
    '--provider <name>',
    `${SIMULATED_PROVIDERS.join(', ')} (default: ${byDefault})`,
    oneOf(PROVIDER_NAMES).optional(),
  );

const source = (byDefault: string) => takes('--source <id>', `src_… (default: ${byDefault})`, id.optional());

type Where = { readonly provider: ProviderName | undefined; readonly source: string | undefined } & Target;

interface Target {
  readonly url: string | undefined;
  /** Seconds. */
  readonly wait: number;
  readonly verbose: boolean;
}

/** Money that arrives, or goes, without an account at any provider. */
export function addSimulateCommands(group: Command): void {
  for (const [purpose, summary] of [
    ['topup', 'A customer pays, and the wallet is credited'],
    ['order', 'A customer pays for an order, which leaves the wallet as it is until it is refunded'],
  ] as const) {
    addMerchantCommand(group, {
      name: purpose,
      summary,
      details: WHAT_IT_DOES,
      takes: {
        customerId: takes('--customer <id>', 'cus_…', text(300, 1)),
        amount: takes('--amount <amount>', 'in the unit people write, such as 12.50', amountText),
        currency: takes('--currency <code>', 'default: the first of WALLET_CURRENCIES', currency.optional()),
        provider: provider('stripe if it has a source, else that of the only source'),
        source: source("the provider's of the environment, or its only stored one"),
        ...target,
      },
      run: (input, context, merchant) => simulatePayment({ ...input, purpose }, context, merchant),
    });
  }
  addUndoingCommands(group);
}

function addUndoingCommands(group: Command): void {
  const undone = (amountByDefault: string) => ({
    paymentId: takes('--payment <id>', 'of an earlier simulated payment, such as pi_…', text(200, 1)),
    amount: takes('--amount <amount>', `default: ${amountByDefault}`, amountText.optional()),
    provider: provider('that of the payment'),
    source: source('that of the payment'),
    ...target,
  });
  addMerchantCommand(group, {
    name: 'refund',
    summary: 'A simulated payment is refunded, whole or in part',
    details: WHAT_IT_DOES,
    takes: undone('all that is left of what was paid'),
    async run(input, context, merchant) {
      const { payment, source, money } = await simulatedPayment(input, context, merchant);
      const paidMinor = payment.amountPaid ?? 0;
      const leftMinor = paidMinor - refundedOf(payment);
      if (leftMinor <= 0) giveUp(`All of ${money.paymentId} was refunded already.`);
      const amountMinor = input.amount === undefined ? leftMinor : money.amountMinor;
      if (amountMinor > leftMinor)
        giveUp(`Only ${formatMinor(leftMinor, money.currency)} of ${money.paymentId} can still be refunded.`);
      const refundedMinor = paidMinor - leftMinor + amountMinor;
      const refund = { refundId: newSimulatedRefundId(), amountMinor, paidMinor, refundedMinor };
      return deliver({ source, money: { kind: 'refund', ...money, ...refund } }, input, context);
    },
  });
  addMerchantCommand(group, {
    name: 'dispute',
    summary: 'A simulated payment is disputed: opened, lost or won',
    details: `${WHAT_IT_DOES} Each payment has one dispute, which can be lost first and won later.`,
    takes: {
      ...undone('all that was paid'),
      outcome: takes(
        '--outcome <outcome>',
        `${DISPUTE_OUTCOMES.join(', ')} (default: lost)`,
        oneOf(DISPUTE_OUTCOMES).default('lost'),
      ),
    },
    async run(input, context, merchant) {
      const { payment, source, money } = await simulatedPayment(input, context, merchant);
      const paidMinor = payment.amountPaid ?? 0;
      if (money.amountMinor > paidMinor) {
        giveUp(`${formatMinor(paidMinor, money.currency)} was paid by ${money.paymentId}: no more can be disputed.`);
      }
      const disputeId = simulatedDisputeId(money.paymentId);
      return deliver({ source, money: { kind: 'dispute', ...money, disputeId, state: input.outcome } }, input, context);
    },
  });
}

async function simulatePayment(
  input: Where & { purpose: 'topup' | 'order'; customerId: string; amount: string; currency: string | undefined },
  context: CliContext,
  merchant: Merchant,
): Promise<Result> {
  const source = await findSimulatedSource(context, merchant, input);
  const { customerId } = input;
  await requireCustomer(context.db, merchant.merchantId, customerId);
  const supported = context.config.WALLET_CURRENCIES;
  const wanted = input.currency ?? supported[0] ?? 'USD';
  if (!supported.includes(wanted)) refuse({ code: 'UNSUPPORTED_CURRENCY', currency: wanted, supported });
  const money = {
    paymentId: newSimulatedPaymentId(source.provider),
    amountMinor: parseAmount(input.amount, wanted),
    currency: wanted,
    customerId,
  };
  const payment = { kind: 'payment', ...money, purpose: purposeFor(source, input.purpose) } as const;
  return deliver({ source, money: payment }, input, context);
}

/** The payment to undo, with its source and its money, all of it unless an amount is given. */
async function simulatedPayment(
  input: Where & { paymentId: string; amount: string | undefined },
  context: CliContext,
  merchant: Merchant,
) {
  const { paymentId } = input;
  if (!isSimulatedPaymentId(paymentId)) {
    giveUp(`${paymentId} was not simulated, so its provider has to undo it. "npx chokin simulate topup" makes one.`);
  }
  const found = await findPayments(context.db, merchant.merchantId, paymentId);
  const payment: Payment = found[0] ?? giveUp(`Nothing was heard of ${paymentId} yet.`);
  const { sourceId, customerId, currency: paidIn, amountPaid } = payment;
  if (customerId === null || paidIn === null || amountPaid === null) {
    return giveUp(`${paymentId} was not applied yet: npx chokin payments show ${paymentId}`);
  }
  if (input.source !== undefined && input.source !== sourceId) {
    throw new UsageError(`--source: the payment came in by ${sourceId}`);
  }
  const source = await findSimulatedSource(context, merchant, { provider: input.provider, source: sourceId });
  const amountMinor = input.amount === undefined ? amountPaid : parseAmount(input.amount, paidIn);
  return { payment, source, money: { paymentId, amountMinor, currency: paidIn, customerId } };
}

/** What was refunded of it so far. */
function refundedOf({ parts }: Payment): number {
  const refunds = parts.filter(({ kind, state }) => kind === 'refund' && state === 'succeeded');
  return refunds.reduce((sum, { amountMinor }) => sum + (amountMinor ?? 0), 0);
}

async function deliver(
  { source, money }: { readonly source: SimulatedSource; readonly money: SimulatedMoney },
  { url, wait, verbose }: Target,
  { db, clock, config }: CliContext,
): Promise<Result> {
  const { merchantId, sourceId, provider } = source;
  const { currency: moneyIn, customerId, paymentId } = money;
  if (minorFromInteger(provider, moneyIn, money.amountMinor) !== money.amountMinor) {
    giveUp(`${provider} counts ${moneyIn} in another unit than wallets do, which is not simulated.`);
  }
  const [newest] = source.secrets;
  const secret = newest ?? giveUp(`${sourceId} has no webhook secret.`);
  const balance = async () => {
    const wallets = await readWallets(db, merchantId, [customerId]);
    return wallets.find((wallet) => wallet.currency === moneyIn)?.balance ?? null;
  };
  const inWords = (minor: number | null) => (minor === null ? `none in ${moneyIn}` : formatMinor(minor, moneyIn));
  const before = await balance();
  const { type, delivery } =
    simulatedEvent(provider, money, { secret: secret.reveal(), now: clock.now() }) ??
    giveUp(`${provider} tells nothing of disputes; simulate a refund instead.`);
  const address = webhookAddress(url ?? (await urlOfStart(config)), source, config);
  await sendDelivery(address, source, delivery);
  // Loaded only now: the adapters bring providers' SDKs.
  const { PROVIDERS } = await import('../providers/index.ts');
  const event = await followDelivery(db, source, {
    deliveryKey: PROVIDERS[provider].deliveryKey(delivery),
    waitMs: wait * 1000,
  });
  if (event === null) {
    return giveUp(`The service at ${address} took the event, but works on another database than this command.`);
  }
  const after = await balance();
  const body: unknown = JSON.parse(delivery.rawBody.toString());
  const wallet = { customer_id: customerId, currency: moneyIn, before, after };
  const sent = { url: address, type, payment_id: paymentId, body };
  const everywhere = otherMerchant(config, merchantId);
  const commands =
    event.state === 'applied' ? afterwards(money).map((one) => `${one}${everywhere}`) : commandsFor(event, everywhere);
  const shown = eventResponse(event);
  const isLate = event.state === 'pending';
  const facts = properties({
    sent: `${type} to ${address}`,
    payment: paymentId,
    event: event.eventId,
    status: isLate ? `not applied within ${wait} s: does a worker run?` : statusText(event, money),
    reason: shown.reason,
    advice: shown.advice,
    detail: shown.detail,
    wallet: `${inWords(before)} → ${inWords(after)}`,
  });
  return {
    json: { sent, event: shown, wallet, commands },
    text: `${facts}${nextCommands(commands)}${verbose ? `\n\n${heading('Sent')}\n${indented(body)}` : ''}`,
    isFailure: event.state !== 'applied',
  };
}

function indented(body: unknown): string {
  return JSON.stringify(body, null, 2).split('\n').map(printable).join('\n');
}

/** The state, and what the event did; a wallet that stays as it is wants a reason. */
function statusText({ state, effect }: Pick<ProviderEvent, 'state' | 'effect'>, money: SimulatedMoney): string {
  if (state !== 'applied' || effect === null) return state;
  const isDecided = money.kind === 'refund' || (money.kind === 'dispute' && money.state !== 'open');
  const isStill = isDecided && (effect === 'none' || effect === 'recorded');
  if (effect === 'none') return `${state}: nothing changed${isStill ? ', since nothing was left to move' : ''}`;
  return `${state}: ${effect}${isStill ? ', since nothing was left to move' : ''}`;
}

/** Where the `npm start` of this folder listens, if the database is its own. */
async function urlOfStart({ DATABASE_URL: given, DATA_DIR: dataDir }: Config): Promise<string | undefined> {
  if (given !== undefined) return undefined;
  return (await urlOfHolder((await databasePlace(dataDir)).folder)) ?? undefined;
}

/** What a newcomer may want to try next. */
function afterwards({ kind, paymentId, customerId, currency: moneyIn }: SimulatedMoney): readonly string[] {
  const look = [`npx chokin payments show ${paymentId}`, `npx chokin wallets entries ${asWord(customerId)} ${moneyIn}`];
  return kind === 'payment' ? [...look, `npx chokin simulate refund --payment ${paymentId}`] : look;
}

function webhookAddress(
  url: string | undefined,
  { provider, sourceId }: Source,
  { HOST: host, PORT: port }: Config,
): string {
  if (url === undefined && port === 0) throw new UsageError('--url: is wanted, since PORT=0 takes any port');
  const base = url ?? `http://${reachable(host)}:${port}`;
  return `${base.replace(/\/+$/, '')}/webhooks/${provider}/${sourceId}`;
}

/** Where a service that listens at `host` is reached from its own machine. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
