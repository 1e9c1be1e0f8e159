import type { Command } from 'commander';
import { z } from 'zod';
import { cancelCheckout, collectCheckout } from '../checkouts/manage.ts';
import { type CheckoutRefund, refundCheckout } from '../checkouts/refund.ts';
import { requireCustomer } from '../customers/store.ts';
import { type Queryable, transaction } from '../db/transaction.ts';
import { RefusalError, refuse } from '../errors.ts';
import type { Checkout } from '../ledger/checkouts/checkout.ts';
import { checkoutsByIds, listCheckouts } from '../ledger/checkouts/store.ts';
import { formatMinor } from '../money.ts';
import { checkoutResponse, checkoutStatus } from '../views/checkout.ts';
import { currency, text } from '../views/fields.ts';
import { addMerchantCommand, type Result, takes } from './command.ts';
import type { CliContext } from './context.ts';
import { giveUp } from './give-up.ts';
import { keyOption, keyOr, noteRepeated } from './keyed.ts';
import { alignRight, properties, table, time } from './output.ts';
import { limitOption, moreAfter } from './paging.ts';
import { parseAmount } from './values.ts';

const checkoutId = takes('<checkout-id>', 'chk_…', text(100, 1));

/** Purchases that the wallet pays first. */
export function addCheckoutCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: "List a customer's checkouts, newest first",
    takes: {
      customerId: takes('<customer-id>', 'cus_…', text(300, 1)),
      currency: takes('--currency <currency>', 'of one currency, such as USD', currency.optional()),
      status: takes('--status <status>', checkoutStatus.options.join(', '), checkoutStatus.optional()),
      before: takes('--before <checkout-id>', 'only those that were opened before this one', text(100, 1).optional()),
      limit: limitOption,
    },
    async run({ customerId, limit, before, status, ...input }, { db }, { merchantId }) {
      const filter = { currency: input.currency ?? null, state: status ?? null, beforeId: before ?? null };
      const page = { ...filter, pageSize: limit, pageNumber: 0 };
      const found = await listCheckouts(db, { merchantId, customerId }, page);
      if (found.length === 0) await requireCustomer(db, merchantId, customerId);
      const items = found.map(checkoutResponse);
      const shown = `${checkoutTable(items)}${moreAfter(items.length, limit, `--before ${items.at(-1)?.checkout_id}`)}`;
      return { json: { items }, text: shown };
    },
  });

  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show a checkout',
    takes: { checkoutId },
    run: async (input, { db }, { merchantId }) => shown(await find(db, merchantId, input.checkoutId)),
  });

  addMerchantCommand(group, {
    name: 'cancel',
    summary: 'Cancel a checkout that is open, and set free what is held for it',
    details: 'A payment that comes all the same still counts: end the page on which it is paid, too.',
    takes: { checkoutId },
    run: (input, context, { merchantId }) => manage(context, { merchantId, ...input }, cancelCheckout),
  });

  addMerchantCommand(group, {
    name: 'collect',
    summary: 'Take what the wallet could not pay when the purchase was paid, all of it or nothing',
    takes: { checkoutId },
    run: (input, context, { merchantId }) => manage(context, { merchantId, ...input }, collectCheckout),
  });

  addMerchantCommand(group, {
    name: 'refund',
    summary: 'Return to the wallet what it paid of a purchase',
    details:
      'Where the wallet paid alone, or the checkout was opened with wallet_refunds "manual". What a provider was paid is refunded at the provider, which returns the share of the wallet by itself.',
    takes: {
      checkoutId,
      amount: takes('<amount>', 'in the unit people write, such as 12.50', z.string()),
      reason: takes('--reason <text>', 'why; it stands on the entry', text(1000, 1)),
      key: keyOption,
    },
    async run({ checkoutId: id, amount, reason, key }, context, { merchantId }) {
      const { customerId, currency: of } = await find(context.db, merchantId, id);
      const amountMinor = parseAmount(amount, of);
      const refund = { merchantId, customerId, checkoutId: id, amountMinor, reason, idempotencyKey: keyOr(key) };
      return shown(await giveBack(context, refund, of));
    },
  });
}

async function giveBack(context: CliContext, refund: CheckoutRefund, of: string): Promise<Checkout> {
  const { pool, db, settings, clock } = context;
  const moment = { ...settings, now: clock.now() };
  try {
    const { kind } = await transaction(pool, (tx) => refundCheckout(tx, refund, moment));
    if (kind === 'repeated') noteRepeated();
    else (await context.waker()).wake();
    return find(db, refund.merchantId, refund.checkoutId);
  } catch (error) {
    if (!(error instanceof RefusalError) || error.refusal.code !== 'REFUND_EXCEEDS_PAID') throw error;
    return giveUp(`No more than ${formatMinor(error.refusal.refundable, of)} of the purchase can be returned.`);
  }
}

async function find(db: Queryable, merchantId: string, id: string): Promise<Checkout> {
  const [checkout] = await checkoutsByIds(db, merchantId, [id]);
  return checkout ?? refuse({ code: 'CHECKOUT_NOT_FOUND' });
}

async function manage(
  context: CliContext,
  { merchantId, checkoutId: id }: Pick<Checkout, 'merchantId' | 'checkoutId'>,
  work: typeof cancelCheckout,
): Promise<Result> {
  const { pool, db, settings, clock } = context;
  const key = await find(db, merchantId, id);
  const { kind, checkout } = await transaction(pool, (tx) => work(tx, key, { ...settings, now: clock.now() }));
  if (kind === 'refused') return giveUp(`This cannot be done with a checkout that is ${checkout.state}, or refunded.`);
  (await context.waker()).wake();
  return shown(checkout);
}

type CheckoutResponse = ReturnType<typeof checkoutResponse>;

function shown(checkout: Checkout): Result {
  const json = checkoutResponse(checkout);
  const money = (amount: number) => formatMinor(amount, json.currency);
  const some = (amount: number) => (amount === 0 ? null : money(amount));
  const facts = properties({
    checkout: json.checkout_id,
    customer: json.customer_id,
    status: json.status,
    total: money(json.total),
    'by the wallet': money(json.wallet_part),
    'by a payment': money(json.payment_part),
    'credit bought': some(json.credit_bought),
    captured: some(json.captured),
    uncollected: some(json.uncollected),
    'returned to the wallet': some(json.wallet_returned),
    'refunded by the provider': some(json.payment_refunded),
    hold: json.hold_id,
    page: json.payment?.url ?? null,
    payment: json.payment?.payment_id ?? null,
    source: json.payment?.source_id ?? null,
    reference: json.reference_object_id,
    reason: json.reason,
    opened: time(json.created_at),
    ends: json.status === 'open' ? time(json.expires_at) : null,
    completed: time(json.completed_at),
  });
  return { json, text: facts };
}

function checkoutTable(checkouts: readonly CheckoutResponse[]): string {
  const money = (amount: (one: CheckoutResponse) => number) =>
    alignRight(checkouts.map((one) => formatMinor(amount(one), one.currency)));
  const [totals, parts] = [money(({ total }) => total), money((one) => one.wallet_part)];
  return table(
    ['checkout', 'status', 'total', 'by the wallet', 'opened', 'reference'],
    checkouts.map((one, row) => [
      ...[one.checkout_id, one.status, totals[row] ?? '', parts[row] ?? ''],
      ...[time(one.created_at), one.reference_object_id],
    ]),
    'No checkouts.',
  );
}
