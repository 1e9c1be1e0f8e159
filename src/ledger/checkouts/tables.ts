import { bigint, boolean, hex, json, nullable, oneOf, text, timestamptz } from '../../db/codec.ts';
import { omit, pick, table } from '../../db/table.ts';
import type { Metadata } from '../entry.ts';
import type { Checkout, CheckoutWarning } from './checkout.ts';

/** The tables of checkouts: a row of `checkout` is the thing itself. */

export const CHECKOUT = table('checkout', {
  merchantId: text,
  customerId: text,
  checkoutId: text,
  currency: text,
  state: oneOf<Checkout['state']>(),
  total: bigint,
  tax: nullable(bigint),
  walletPart: bigint,
  paymentPart: bigint,
  creditBought: bigint,
  adjusted: oneOf<Checkout['adjusted']>(),
  gatewayMinimum: bigint,
  warnings: json<readonly CheckoutWarning[]>(),
  amountCheck: oneOf<Checkout['amountCheck']>(),
  walletRefunds: oneOf<Checkout['walletRefunds']>(),
  holdNo: nullable(bigint),
  captured: bigint,
  uncollected: bigint,
  walletReturned: bigint,
  paymentRefunded: bigint,
  overRefunded: boolean,
  sourceId: nullable(text),
  paymentId: nullable(text),
  seriesId: nullable(text),
  sessionId: nullable(text),
  sessionUrl: nullable(text),
  referenceObjectId: nullable(text),
  reason: nullable(text),
  metadata: nullable(json<Metadata>()),
  idempotencyKey: text,
  fingerprint: hex,
  expiresAt: timestamptz,
  prolongedUntil: nullable(timestamptz),
  createdAt: timestamptz,
  completedAt: nullable(timestamptz),
});

/** A checkout of a merchant. */
export const OWN_CHECKOUT = omit(CHECKOUT.shape, 'merchantId');

/** What names a checkout of a merchant; payments name it by its id alone. */
export const OWN_CHECKOUT_KEY = pick(CHECKOUT.shape, 'customerId', 'checkoutId');

/** What becomes of it. */
export const CHECKOUT_PROGRESS = pick(
  CHECKOUT.shape,
  'state',
  'captured',
  'uncollected',
  'walletReturned',
  'paymentRefunded',
  'overRefunded',
  'sourceId',
  'paymentId',
  'seriesId',
  'sessionId',
  'sessionUrl',
  'prolongedUntil',
  'completedAt',
);

/** The work list of open checkouts. */
export const CHECKOUT_DUE = table('checkout_due', {
  merchantId: text,
  customerId: text,
  checkoutId: text,
  dueAt: timestamptz,
});
