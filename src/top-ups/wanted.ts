import { isDeepStrictEqual } from 'node:util';
import { mayCharge } from '../charging/connect.ts';
import type { Queryable } from '../db/transaction.ts';
import type { Wallet } from '../ledger/entry.ts';
import { readWallets } from '../ledger/store.ts';
import { getMerchant } from '../merchants/merchant-store.ts';
import type { Source } from '../merchants/source.ts';
import { isStillScheduled } from './refills.ts';
import type { TopUpRule } from './rule.ts';
import { readRule } from './store.ts';
import type { TopUp } from './tables.ts';

/** Who may be charged, at the moment at which somebody is about to be. */

/** Whether anybody may be charged for the wallet at all. */
export function mayBeFilledUp({ status }: Wallet): boolean {
  return status === 'active';
}

/** Whether the merchant may do nothing for now; then nobody is charged for it either. */
export async function isSuspended(db: Queryable, merchantId: string): Promise<boolean> {
  const merchant = await getMerchant(db, merchantId);
  return merchant === null || merchant.suspendedAt !== null;
}

/** Whether a payment method was looked up for what the rule is paid by now. */
export function isPaidBy({ payment }: TopUpRule, asked: TopUpRule['payment']): boolean {
  return isDeepStrictEqual(payment, asked);
}

/**
 * Whether the request of an attempt would be made today: the customer, or the merchant for him, may have taken back what was agreed while
 * its outcome was not known.
 * @param source that of the attempt
 */
export async function isStillWanted(db: Queryable, topUp: TopUp, source: Source): Promise<boolean> {
  const { merchantId, customerId, currency, request } = topUp;
  const rule = await readRule(db, topUp);
  if (rule === null || request === null || !allows(rule, topUp, source.sourceId) || !mayCharge(source)) return false;
  if (topUp.origin === 'schedule' && !(await isStillScheduled(db, topUp))) return false;
  const wallet = (await readWallets(db, merchantId, [customerId])).find((one) => one.currency === currency);
  return wallet !== undefined && mayBeFilledUp(wallet) && !(await isSuspended(db, merchantId));
}

function allows(rule: TopUpRule, { request, origin }: TopUp, sourceId: string): boolean {
  const { enabled, endedAt, suspendedReason, payment, maxCharge, monthlyCap } = rule;
  if (!enabled || endedAt !== null || suspendedReason !== null || payment === null || request === null) return false;
  const { paymentMethodId } = payment;
  const isOfMethod = paymentMethodId === null || paymentMethodId === request.methodId;
  const isOfCustomer = payment.sourceId === sourceId && payment.providerCustomerId === request.customerId;
  // How much a schedule charges at once was agreed for itself.
  const most = origin === 'schedule' ? monthlyCap : Math.min(maxCharge, monthlyCap);
  return isOfCustomer && isOfMethod && request.amount <= most;
}
