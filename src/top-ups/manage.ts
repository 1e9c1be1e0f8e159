import { isDeepStrictEqual } from 'node:util';
import { mayCharge, methodProblem } from '../charging/connect.ts';
import type { Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import { type Wallet, type WalletKey, walletKeyText } from '../ledger/entry.ts';
import { wasClosedAfter } from '../ledger/status/store.ts';
import { lockWallets } from '../ledger/store.ts';
import type { Source } from '../merchants/source.ts';
import { nextLook } from './attempt.ts';
import { inFlightOf, insertTopUp, topUpUnderKey } from './attempt-store.ts';
import { endTopUpRule, watch } from './end.ts';
import { resume } from './outcome.ts';
import { lockTopUp, lookAgain, recordNews } from './record.ts';
import { endRefills } from './refills.ts';
import { NEW_STATE, type TopUpRule, type TopUpTerms, termsProblem } from './rule.ts';
import { isSameWish, type SessionWish, sessionOf, wantsSession } from './session.ts';
import { lockRule, saveRule } from './store.ts';
import type { TopUp } from './tables.ts';
import { tellOfTopUps } from './tell.ts';

/** What a merchant asks of top-ups. */

interface Moment {
  readonly currencies: ReadonlySet<string>;
  readonly now: Date;
}

async function lockedWallet(tx: Tx, key: WalletKey, { currencies, now }: Moment): Promise<Wallet> {
  const { currency, customerId } = key;
  if (!currencies.has(currency)) refuse({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] });
  const wallets = await lockWallets(tx, [key], { currencies, now });
  return wallets.get(walletKeyText(key)) ?? refuse({ code: 'CUSTOMER_NOT_FOUND', customerId });
}

/** The wallet, locked, which is not closed: nothing is put into one that is, and nobody is to be charged for it. */
async function openWallet(tx: Tx, key: WalletKey, moment: Moment): Promise<Wallet> {
  const wallet = await lockedWallet(tx, key, moment);
  if (wallet.status === 'closed') refuse({ code: 'WALLET_CLOSED', currency: key.currency });
  return wallet;
}

/** The rule of a wallet, locked; null if there is none, or its wallet was closed since its terms were set: that one is to end, also where nobody has looked yet. */
async function lockStanding(tx: Tx, key: WalletKey): Promise<TopUpRule | null> {
  const rule = await lockRule(tx, key);
  if (rule === null || rule.endedAt !== null) return null;
  return (await wasClosedAfter(tx, key, rule.updatedAt)) ? null : rule;
}

/**
 * Gives a wallet a rule, or other terms to the one it has. A rule that is suspended stays so; whether another payment method is there
 * is looked at soon.
 * @param source that of the payment, if it is charged here; null if there is none
 * @throws {RefusalError} INVALID_FIELD, CONSENT_REQUIRED, CHARGING_NOT_CONFIGURED, UNSUPPORTED_CURRENCY, CUSTOMER_NOT_FOUND, WALLET_CLOSED
 */
export async function putRule(
  tx: Tx,
  { source, ...wanted }: WalletKey & TopUpTerms & { readonly source: Source | null },
  moment: Moment,
): Promise<TopUpRule> {
  const { now } = moment;
  const problem = termsProblem(wanted);
  if (problem !== null) refuse({ code: 'INVALID_FIELD', ...problem });
  if (wanted.enabled && wanted.consent === null) refuse({ code: 'CONSENT_REQUIRED' });
  if (wanted.payment !== null && (source === null || !mayCharge(source))) refuse({ code: 'CHARGING_NOT_CONFIGURED' });
  const wants = source === null ? null : methodProblem(source, wanted.payment?.paymentMethodId ?? null);
  if (wanted.payment !== null && wants !== null)
    refuse({ code: 'INVALID_FIELD', field: 'payment.payment_method_id', wants });
  const standing = await lockStanding(tx, wanted);
  if (standing === null) await endTopUpRule(tx, wanted, now);
  else if (!wanted.enabled) await endRefills(tx, wanted, now);
  const wallet = await openWallet(tx, wanted, moment);
  // Whoever was closing the wallet had its lock until now.
  const isClosedSince = standing !== null && (await wasClosedAfter(tx, wanted, standing.updatedAt));
  if (isClosedSince) await endTopUpRule(tx, wanted, now);
  const kept = isClosedSince ? null : standing;
  const state = { ...NEW_STATE, createdAt: now, ...kept };
  const next: TopUpRule = { ...state, ...wanted, updatedAt: now, endedAt: null };
  // What was told of the terms before says nothing about these.
  const rule = kept === null || isDeepStrictEqual(termsOf(kept), termsOf(next)) ? next : { ...next, blocks: {} };
  await saveRule(tx, rule);
  await watch(tx, { rule, wallet, now });
  return rule;
}

function termsOf({ threshold, mode, amount, target, maxCharge, monthlyCap, maxPerDay, timeZone }: TopUpTerms) {
  return { threshold, mode, amount, target, maxCharge, monthlyCap, maxPerDay, timeZone };
}

/**
 * Ends a rule. An attempt under way goes on, since it may be paid.
 * @throws {RefusalError} TOP_UP_RULE_NOT_FOUND
 */
export async function deleteRule(tx: Tx, key: WalletKey, now: Date): Promise<TopUpRule> {
  return (await endTopUpRule(tx, key, now)) ?? refuse({ code: 'TOP_UP_RULE_NOT_FOUND' });
}

/** Lets a rule charge again at once, whatever was declined. @throws {RefusalError} TOP_UP_RULE_NOT_FOUND */
export async function resumeRule(tx: Tx, key: WalletKey, now: Date): Promise<TopUpRule> {
  const rule = await lockStanding(tx, key);
  if (rule === null) return refuse({ code: 'TOP_UP_RULE_NOT_FOUND' });
  const resumed = resume(rule);
  await saveRule(tx, resumed);
  if (rule.suspendedReason !== null)
    await tellOfTopUps(tx, [{ kind: 'resumed', rule: resumed, cause: 'merchant' }], now);
  await lookAgain(tx, resumed, now);
  return resumed;
}

export interface ManualRequest extends WalletKey {
  readonly amount: number;
  readonly idempotencyKey: string;
  /** Where he pays; null: the merchant makes the payment. */
  readonly session: SessionWish | null;
}

/**
 * Notes that the customer is about to top up by himself, so that the payment can name it.
 * @returns the top-up, and whether it was asked for before; one whose page is still to be made is asked for anew
 * @throws {RefusalError} TOP_UP_IN_FLIGHT, IDEMPOTENCY_KEY_REUSED, UNSUPPORTED_CURRENCY, CUSTOMER_NOT_FOUND, WALLET_CLOSED
 */
export async function requestTopUp(
  tx: Tx,
  request: ManualRequest,
  moment: Moment,
): Promise<{ readonly topUp: TopUp; readonly isRepeated: boolean }> {
  const { merchantId, customerId, currency, amount, idempotencyKey, session: wish } = request;
  await lockRule(tx, request);
  const wallet = await lockedWallet(tx, request, moment);
  const known = await topUpUnderKey(tx, request);
  if (known !== null) {
    const isSame = known.amount === amount && known.currency === currency && isSameWish(known.session, wish);
    return isSame
      ? { topUp: known, isRepeated: !wantsSession(known) }
      : refuse({ code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey });
  }
  if (wallet.status === 'closed') refuse({ code: 'WALLET_CLOSED', currency });
  if ((await inFlightOf(tx, request)) !== null) refuse({ code: 'TOP_UP_IN_FLIGHT' });
  const { now } = moment;
  const session = wish === null ? null : sessionOf(wish, now);
  const topUp: TopUp = {
    ...{ merchantId, customerId, currency, topUpId: newId('topUp'), origin: 'manual', state: 'requested', amount },
    ...{
      sourceId: wish?.sourceId ?? null,
      session,
      paymentId: null,
      seriesId: null,
      reason: null,
      declineCode: null,
      method: null,
    },
    ...{ request: null, requestHash: null, cap: null, monthSince: null, isLate: false, idempotencyKey },
    ...{ askedAt: null, leasedUntil: null, lookAt: nextLook('requested', now, now), createdAt: now, settledAt: null },
  };
  await insertTopUp(tx, topUp);
  return { topUp, isRepeated: false };
}

/**
 * Notes that a payment which the merchant was to make came to nothing.
 * @throws {RefusalError} TOP_UP_NOT_FOUND, TOP_UP_NOT_OPEN
 */
export async function failTopUp(
  tx: Tx,
  key: WalletKey & Pick<TopUp, 'topUpId'>,
  { declineCode, isHard, now }: { readonly declineCode: string | null; readonly isHard: boolean; readonly now: Date },
): Promise<TopUp> {
  const locked = await lockTopUp(tx, key);
  const isOf = locked?.topUp.customerId === key.customerId && locked.topUp.currency === key.currency;
  if (locked === null || !isOf) return refuse({ code: 'TOP_UP_NOT_FOUND' });
  const news = { kind: 'merchant_failed', declineCode, isHard } as const;
  const recorded = await recordNews(tx, locked, { news, now });
  return recorded?.topUp ?? refuse({ code: 'TOP_UP_NOT_OPEN', state: locked.topUp.state });
}
