import { createHash } from 'node:crypto';
import type { GatewayMinimums } from '../charging/minimums.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { CheckoutWarning } from '../ledger/checkouts/checkout.ts';
import type { OpenCheckout, PurchaseTerms } from '../ledger/checkouts/open-checkout.ts';
import type { ProviderName } from '../providers/shared/names.ts';

/** What a merchant asks for a purchase, and how a command comes of it. Pure. */

/** How a purchase is to be split. */
export interface PurchaseRequest extends Omit<PurchaseTerms, 'gatewayMinimum' | 'warnings'> {
  readonly merchantId: string;
  readonly customerId: string;
  readonly currency: string;
  /** What the provider charges at least, where the merchant knows better; null: as the service knows it. */
  readonly gatewayMinimum: number | null;
}

/** The page of a provider's on which it is to be paid. */
export interface SessionRequest {
  readonly sourceId: string;
  readonly successUrl: string;
  readonly cancelUrl: string | null;
  readonly description: string | null;
}

export interface CheckoutRequest
  extends PurchaseRequest,
    Pick<
      OpenCheckout,
      'tax' | 'amountCheck' | 'walletRefunds' | 'referenceObjectId' | 'reason' | 'metadata' | 'idempotencyKey'
    > {
  /** Null: the default. */
  readonly expiresInSeconds: number | null;
  readonly session: SessionRequest | null;
}

/** How long it may be paid, in seconds. A provider's page lives from 30 minutes to a day by the provider's own clock. */
export const LIFE = {
  ofOwn: { least: 300, most: 86_400, usual: 1800 },
  ofSession: { least: 1860, most: 86_340, usual: 3600 },
} as const;

/** Those that sell in their own name, and tax what they charge: of a purchase that is split, only the part that they see. */
const SELLS_IN_ITS_OWN_NAME: ReadonlySet<ProviderName> = new Set(['dodo', 'paddle', 'polar', 'lemonsqueezy']);

/**
 * The terms of a split, by where it may be paid. Where that is not known, it may be any of the merchant's providers: the largest of
 * their minimums counts.
 */
export function checkoutTermsOf(
  { total, wallet, gatewayMinimum, allowCreditPurchase, currency }: PurchaseRequest,
  { providers, minimums }: { readonly providers: ReadonlySet<ProviderName>; readonly minimums: GatewayMinimums },
): PurchaseTerms {
  const known = [...providers].map((provider) => minimums.of(provider, currency));
  const warnings: readonly CheckoutWarning[] = [...providers].some((one) => SELLS_IN_ITS_OWN_NAME.has(one))
    ? ['taxed_on_payment_alone']
    : [];
  return { total, wallet, allowCreditPurchase, warnings, gatewayMinimum: gatewayMinimum ?? Math.max(0, ...known) };
}

/** @throws {RefusalError} INVALID_FIELD for what no schema can judge alone */
export function commandOf(request: CheckoutRequest, terms: PurchaseTerms): OpenCheckout {
  const { merchantId, customerId, currency, tax, amountCheck, walletRefunds, session } = request;
  const { referenceObjectId, reason, metadata, idempotencyKey } = request;
  requireSense(request);
  return {
    ...{ op: 'open_checkout', merchantId, customerId, currency, checkoutId: newId('checkout'), tax },
    ...{ amountCheck, walletRefunds, sourceId: session?.sourceId ?? null },
    ...{ referenceObjectId, reason, metadata, idempotencyKey, ...terms },
    expiresInSeconds: request.expiresInSeconds ?? (session === null ? LIFE.ofOwn : LIFE.ofSession).usual,
    fingerprint: fingerprintOf(request),
  };
}

/** @throws {RefusalError} INVALID_FIELD */
export function requireSense(
  request: PurchaseRequest & Partial<Pick<CheckoutRequest, 'expiresInSeconds' | 'session'>>,
): void {
  const { wallet, total, expiresInSeconds, session } = request;
  const { use, most, requireFull } = wallet;
  if (requireFull && (use === 'none' || (most !== null && most < total))) {
    refuse({ code: 'INVALID_FIELD', field: 'wallet.require_full', wants: 'the wallet may not pay all of it' });
  }
  if (expiresInSeconds == null) return;
  const { least, most: longest } = session == null ? LIFE.ofOwn : LIFE.ofSession;
  if (expiresInSeconds >= least && expiresInSeconds <= longest) return;
  const wants = `wants ${least} to ${longest}${session == null ? '' : ' with a session'}`;
  refuse({ code: 'INVALID_FIELD', field: 'expires_in_seconds', wants });
}

/** SHA-256, in hexadecimal, of all that is asked for; metadata counts in any order of its keys. */
function fingerprintOf(request: CheckoutRequest): string {
  const { currency, total, tax, wallet, gatewayMinimum, allowCreditPurchase, amountCheck, walletRefunds } = request;
  const { expiresInSeconds, referenceObjectId, reason, metadata, session } = request;
  const { use, most, requireFull } = wallet;
  const pairs = metadata === null ? null : Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  const page = session === null ? null : [session.sourceId, session.successUrl, session.cancelUrl, session.description];
  const text = JSON.stringify([
    ...[currency, total, tax, use, most, requireFull, gatewayMinimum, allowCreditPurchase, amountCheck],
    ...[walletRefunds, expiresInSeconds, referenceObjectId, reason, pairs, page],
  ]);
  return createHash('sha256').update(text).digest('hex');
}
