import { hash } from 'node:crypto';
import type { CarriedCheckout } from './checkout.ts';
import type { Fact, Naming, PaymentFact, WalletMetadata } from './fact.ts';
import type { IntentRules } from './intent.ts';
import { hasTouchedWallet, type Payment, type PaymentIntent } from './payment.ts';
import type { NamedTopUp } from './top-up.ts';

/** The prefix of tokens; a text that begins with it is taken for nothing else. */
export const TOKEN_PREFIX = 'wt_';
const TOKEN = /^wt_[0-9a-f]{32}$/;

export const TOKEN_PURPOSES = ['topup', 'order'] as const;

/** What a merchant's server agreed on for one payment. Amounts are minor units. */
export interface TokenTerms {
  readonly customerId: string;
  readonly purpose: (typeof TOKEN_PURPOSES)[number];
  readonly currency: string;
  /** The least that must be paid (tax and fees may make it more); null for any amount. */
  readonly amount: number | null;
  /** What a top-up grants; null for what was paid. */
  readonly creditAmount: number | null;
  /** What it grants on top of what was paid, instead; null for what rules give. */
  readonly bonusAmount?: number | null;
  /** For how many days the bonus can be spent, and what was paid; null: it does not end. */
  readonly bonusDays?: number | null;
  readonly paidDays?: number | null;
  readonly expiresAt: Date;
}

/** A token's terms, and whether it was used or revoked. */
export interface PaymentToken extends TokenTerms {
  readonly merchantId: string;
  readonly tokenHash: string;
  readonly revokedAt: Date | null;
  readonly usedSourceId: string | null;
  readonly usedPaymentId: string | null;
  /** The {@link PaymentFact.seriesId} of the payment that used it. */
  readonly seriesId: string | null;
  /** Whether a payment follows its terms, though none may have used it yet. */
  readonly isFollowed: boolean;
}

/** SHA-256 in hexadecimal. A token is 128 random bits, so its hash needs no salt. */
export function hashToken(token: string): string {
  return hash('sha256', token);
}

/** The hash of the token in the metadata; null if there is none, or a text that cannot be a token. */
export function tokenHashOf({ wallet_token: token }: WalletMetadata): string | null {
  return token !== undefined && TOKEN.test(token) ? hashToken(token) : null;
}

/** The hash of the token that a fact carries, be it by its group; null if it carries none, or a text that cannot be a token. */
export function carriedHash(fact: Fact): string | null {
  if (fact.kind !== 'payment' && fact.kind !== 'refund') return null;
  const ofGroup = fact.kind === 'payment' ? fact.groupToken : null;
  return ofGroup?.hash ?? tokenHashOf(fact.metadata);
}

/** The token, the checkout or the top-up that a payment names. */
export interface CarriedToken extends CarriedCheckout {
  /** Null if the merchant has no such token. */
  readonly token: PaymentToken | null;
  /** The top-up that it names, if the merchant has it. */
  readonly topUp?: NamedTopUp | null;
  /** When its event was received; used for providers that tell no time. */
  readonly receivedAt: Date;
  /** The customer that a person chose; null if nobody chose one. */
  readonly assignedCustomerId: string | null;
}

export interface ObeyedToken {
  readonly kind: 'obeyed';
  readonly customerId: string;
  readonly intent: PaymentIntent;
  /** Whether what was given as a bonus before stays: by terms that say nothing of one it is what rules gave. */
  readonly keepsBonus?: boolean;
}

/** A fact, its payment before the fact, and the settings of its source. */
export interface TokenInput {
  readonly payment: Payment;
  readonly fact: Fact;
  readonly carried: CarriedToken;
  readonly source: IntentRules;
}

/** The result of reading a payment's token. `refused`: it must not be used, and no other metadata may take its place. */
export type TokenReading = ObeyedToken | RefusedToken;

interface RefusedToken {
  readonly kind: 'refused';
  readonly reason: 'bad_token' | 'token_used' | 'named_late';
  readonly detail: string;
}

const bad = (detail: string): RefusedToken => ({ kind: 'refused', reason: 'bad_token', detail });
const used = ({ usedPaymentId }: PaymentToken): RefusedToken => {
  return { kind: 'refused', reason: 'token_used', detail: `the payment ${usedPaymentId} used it` };
};

/**
 * Reads the token of a payment that succeeded. Whoever put it there and whatever metadata the source obeys, the token decides
 * whose the payment is, what it is for and what it grants, once. Other metadata beside it is not read, except a customer, who
 * must be the same. Later payments of the subscription or order whose payment used it belong to its customer: they are credited
 * with what they paid.
 *
 * If a person has chosen the customer, that counts instead of a token that must not be used or names another customer. Then
 * what was paid is credited, by the purpose of the source.
 *
 * What a payment is for is decided once, but not against a token that no payer can have written and that comes late: it decides
 * anew where nothing was posted, and where it only adds to what was; else a person must.
 * @returns null if no token decides: it carries none, did not succeed, or what it is for was decided before
 */
export function readToken({ payment, fact, carried, source }: TokenInput): TokenReading | null {
  if (fact.kind !== 'payment' || fact.state !== 'succeeded') return null;
  if (fact.metadata.wallet_token === undefined && !fact.groupToken) return null;
  if (payment.purpose !== null && !comesLate(payment, fact)) return null;
  const reading = judge(payment, fact, carried);
  const { assignedCustomerId: assigned } = carried;
  if (assigned === null || (reading.kind === 'obeyed' && reading.customerId === assigned)) {
    return payment.purpose === null ? reading : againstBefore(payment, reading);
  }
  if (payment.purpose !== null) return null;
  return { kind: 'obeyed', customerId: assigned, intent: { purpose: source.defaultPurpose, creditAmount: null } };
}

/**
 * The customer of the fact's token, or null. The token of a refund names the customer too, even if it was used or has ended,
 * since a refund has the metadata of its payment.
 */
export function customerOfToken(input: TokenInput): string | null {
  const { token } = input.carried;
  if (input.fact.kind === 'refund') return token === null || token.revokedAt !== null ? null : token.customerId;
  const reading = readToken(input);
  return reading?.kind === 'obeyed' ? reading.customerId : null;
}

/** Whether a token that no payer can have written is told of a payment that was decided without it, and not by a person. */
function comesLate({ tokenHash, namedBy, moves }: Payment, fact: PaymentFact): boolean {
  const carried = carriedHash(fact);
  const isNew = carried === null || carried !== tokenHash;
  return fact.tokenBy !== undefined && namedBy !== 'operator' && moves === 0 && isNew;
}

/** What a token that comes late still decides; null if what was decided before is the same. */
function againstBefore(payment: Payment, reading: TokenReading): TokenReading | null {
  if (reading.kind === 'refused') return reading;
  const { bonusAmount = null, bonusDays: _, ...rest } = reading.intent;
  const { purpose, creditAmount, tokenHash = null } = rest;
  const isSamePurpose = payment.purpose === purpose;
  if (isSamePurpose && payment.creditAmount === creditAmount && payment.tokenHash === tokenHash) return null;
  const granted = (amount: number | null, bonus: number | null) => amount ?? (payment.amountPaid ?? 0) + (bonus ?? 0);
  const isTouched = hasTouchedWallet(payment);
  const keepsBonus = isTouched && creditAmount === null && bonusAmount === null;
  const bonus = keepsBonus ? payment.bonusAmount : bonusAmount;
  const isMore = granted(creditAmount, bonus) >= granted(payment.creditAmount, payment.bonusAmount);
  const onlyAdds = isSamePurpose && purpose === 'topup' && isMore && payment.customerId === reading.customerId;
  if (payment.tokenHash === null && (onlyAdds || !isTouched)) {
    return keepsBonus ? { ...reading, intent: rest, keepsBonus } : reading;
  }
  const detail = `its token is for ${purpose} of ${reading.customerId}, and it was decided without it before`;
  return { kind: 'refused', reason: 'named_late', detail };
}

function judge(payment: Payment, fact: PaymentFact, { token, receivedAt }: CarriedToken): TokenReading {
  const before = payment.namedBy === null ? null : payment.customerId;
  const named = fact.named?.customerId ?? before ?? fact.metadata.wallet_customer_id;
  if (token === null) return bad('there is no such token');
  const { customerId, purpose, amount, creditAmount, currency } = token;
  if (named !== undefined && named !== customerId) return bad('another customer is named beside it');
  if (token.revokedAt !== null) return bad('it was revoked');
  if (fact.currency !== currency) return bad(`it is for ${currency}`);
  if (isUsedByAnother(token, payment)) {
    if (isOfSameSeries(token, payment, fact)) {
      return { kind: 'obeyed', customerId, intent: { purpose, creditAmount: null } };
    }
    return used(token);
  }
  if ((fact.triedAt ?? fact.occurredAt ?? receivedAt) > token.expiresAt) return bad('it had ended before the payment');
  if (amount !== null && (fact.amountMinor ?? 0) < amount) return bad('less was paid than it is for');
  const intent = { purpose, creditAmount, ...bonusIn(token), tokenHash: token.tokenHash, agreedAmount: amount };
  return { kind: 'obeyed', customerId, intent };
}

/** What the terms say of a bonus, or of an end; nothing where they say nothing. */
function bonusIn({ bonusAmount = null, bonusDays = null, paidDays = null }: TokenTerms) {
  const terms = { bonusAmount, bonusDays, paidDays };
  return Object.values(terms).every((one) => one === null) ? {} : terms;
}

/**
 * Why the token of a subscription must not be used, as far as an invoice tells; null if nothing speaks against it. Its amount,
 * currency and end are judged with each payment.
 */
export function refusedByInvoice({ groupId, named, token: carried }: Naming, token: PaymentToken | null) {
  if (carried === undefined) return null;
  if (token === null) return bad('there is no such token');
  if (named !== undefined && named.customerId !== token.customerId) return bad('another customer is named beside it');
  const { revokedAt } = token;
  if (revokedAt !== null) return bad('it was revoked');
  // A payment of this invoice may have carried the token itself, and have used it as one of the invoice.
  const isOfThis = token.seriesId === null || token.seriesId === carried.seriesId || token.seriesId === groupId;
  return token.usedPaymentId === null || isOfThis ? null : used(token);
}

/** Whether another payment has used the token. */
export function isUsedByAnother(token: PaymentToken, { sourceId, paymentId }: Payment): boolean {
  return token.usedPaymentId !== null && (token.usedPaymentId !== paymentId || token.usedSourceId !== sourceId);
}

function isOfSameSeries(token: PaymentToken, { sourceId }: Payment, { seriesId, startsSeries }: PaymentFact): boolean {
  const isOfThis = token.seriesId !== null && seriesId === token.seriesId && sourceId === token.usedSourceId;
  return isOfThis && startsSeries !== true;
}

/** Whether the payment has used up its token: it moved money, or completed an order. */
export function usesToken({ tokenHash, postings, state, purpose, amountPaid }: Payment): boolean {
  const isOrder = state === 'succeeded' && purpose === 'order' && amountPaid !== null && amountPaid > 0;
  return tokenHash !== null && (postings > 0 || isOrder);
}
