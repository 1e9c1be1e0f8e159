import { type MethodReading, NO_PAYMENT_METHOD } from '../charging/charger.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { newId } from '../ids.ts';
import { type Wallet, type WalletKey, walletKeyText } from '../ledger/entry.ts';
import { wasClosedAfter } from '../ledger/status/store.ts';
import { lockWallets } from '../ledger/store.ts';
import { LOOK_WHILE_SUSPENDED_MS, removeTopUpDue, setTopUpDue } from '../ledger/top-up-due.ts';
import { lockOpenRefills, openRefills } from '../schedules/refill-store.ts';
import { LEASE_MS, nextLook } from './attempt.ts';
import { insertTopUp, isUnderWayAt, readHistory } from './attempt-store.ts';
import { type Period, periodsOf } from './calendar.ts';
import { type AttemptHistory, type DecideTopUp, decideTopUp, type TopUpDecision } from './decide.ts';
import { MOST_DECLINES, methodHash } from './declines.ts';
import { endTopUpRule } from './end.ts';
import { requestHash, resume, suspend } from './outcome.ts';
import { declinesOf, recordNews } from './record.ts';
import type { WantedRefill } from './refill-attempts.ts';
import { endLockedRefills, noteTried, readRefills, takeRefills } from './refills.ts';
import type { Block, TopUpRule } from './rule.ts';
import { lockRule, saveRule } from './store.ts';
import type { TopUp } from './tables.ts';
import { metadataOf, tellOfTopUps } from './tell.ts';
import { isPaidBy, isSuspended, mayBeFilledUp } from './wanted.ts';

/** Deciding about one wallet under the locks of its rule and of itself, and writing an attempt before anybody is asked to pay. */

const MINUTE = 60_000;
const LOOK = {
  inFlight: 5 * MINUTE,
  unproven: MINUTE,
  notActive: 5 * MINUTE,
  belowMinimum: 60 * MINUTE,
  blockedRefill: 5 * MINUTE,
  suspended: LOOK_WHILE_SUSPENDED_MS,
} as const;

export interface Beginning {
  readonly key: WalletKey;
  /** The method to charge, as the provider has just said; null where nobody asked, since the merchant charges or nothing seemed due. */
  readonly method: MethodReading | null;
  /** What the rule was paid by then; another account or customer may have been set since. */
  readonly askedFor: TopUpRule['payment'];
  /** Whether it is known that the source hears of what is charged there. */
  readonly isProven: boolean;
  /** What the provider charges at least. */
  readonly gatewayMinimum: number;
  readonly now: Date;
}

/** Decides without locks, to know whether the provider has to be asked for the payment method. */
export async function wouldCharge(
  db: Queryable,
  rule: TopUpRule,
  { wallet, gatewayMinimum, now }: Pick<Beginning, 'gatewayMinimum' | 'now'> & { readonly wallet: Wallet },
): Promise<Omit<Decided, 'refill'> & { readonly history: AttemptHistory }> {
  const periods = periodsOf(rule, now);
  const history = await readHistory(db, rule, periods);
  const { wanted } = await readRefills(db, rule, now);
  return { ...decided(rule, wallet, { wanted, history, gatewayMinimum, now, ...periods }), history };
}

interface Deciding extends Pick<DecideTopUp, 'history' | 'gatewayMinimum' | 'day' | 'month' | 'now'> {
  readonly wanted: readonly WantedRefill[];
}

interface Decided {
  readonly decision: TopUpDecision;
  /** What is charged for, where it is a period of a schedule. */
  readonly refill: WantedRefill | null;
}

/** Periods of schedules come first, then a balance that is low. What is blocked keeps nothing waiting that is not. */
function decided(rule: TopUpRule, wallet: Wallet, { wanted, ...rest }: Deciding): Decided {
  const state = { rule, wallet: { balance: wallet.balance, isActive: mayBeFilledUp(wallet) }, ...rest };
  const all = [...wanted, null].map((refill) => ({
    decision: decideTopUp({ ...state, refill: refill?.amount ?? null }),
    refill,
  }));
  const [first] = all;
  invariant(first !== undefined, 'nothing was decided about a wallet');
  return all.find(({ decision }) => decision.kind === 'charge') ?? first;
}

/**
 * Looks at a wallet that is on the work list. What is to be charged is written as an attempt; the caller asks the provider once that is
 * committed.
 * @returns the attempt to charge, if there is one
 */
export async function begin(tx: Tx, beginning: Beginning): Promise<TopUp | null> {
  const { key, gatewayMinimum, now } = beginning;
  const { merchantId, customerId, currency } = key;
  // In one round trip; the server locks them in this order.
  const [rule, schedules, wallets] = await Promise.all([
    lockRule(tx, key),
    lockOpenRefills(tx, key),
    lockWallets(tx, [key], { currencies: new Set([currency]), now }),
  ]);
  const wallet = wallets.get(walletKeyText(key));
  const isOn = rule?.enabled === true && rule.endedAt === null;
  if (!isOn) await endLockedRefills(tx, key, { schedules, now });
  const { wanted, open } = isOn ? await takeRefills(tx, key, { schedules, now }) : { wanted: [], open: 0 };
  const periods = rule === null ? null : periodsOf(rule, now);
  const [openNow, isHalted, wasClosed, history] = await Promise.all([
    openRefills(tx, key),
    isSuspended(tx, merchantId),
    rule === null ? false : wasClosedAfter(tx, key, rule.updatedAt),
    periods === null ? null : readHistory(tx, key, periods),
  ]);
  // One fell due before the wallet was locked, and nothing was decided about it.
  if (openNow.length > open) {
    await setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt: now }]);
    return null;
  }
  if (rule === null || periods === null || history === null || rule.endedAt !== null || wallet === undefined) {
    await removeTopUpDue(tx, key);
    return null;
  }
  // It may be open again before anybody has looked.
  if (wallet.status === 'closed' || wasClosed) {
    await endTopUpRule(tx, key, now);
    return null;
  }
  if (!isPaidBy(rule, beginning.askedFor)) {
    await setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt: now }]);
    return null;
  }
  if (isHalted) {
    await putOff(tx, { key, decision: { kind: 'wait', why: 'not_active', until: null }, now });
    return null;
  }
  const ready = await lifted(tx, rule, beginning);
  const { decision, refill } = decided(ready, wallet, { wanted, history, gatewayMinimum, now, ...periods });
  switch (decision.kind) {
    case 'wait':
      await putOff(tx, { key, decision, now });
      return null;
    case 'blocked':
      await block(tx, { rule: ready, decision, refill, now });
      return null;
    case 'charge':
      return attempt(tx, ready, { ...beginning, amount: decision.amount, refill, month: periods.month });
  }
}

/** The rule, not suspended any more if another payment method is there than the one that was declined. */
async function lifted(tx: Tx, rule: TopUpRule, { method, now }: Beginning): Promise<TopUpRule> {
  const { suspendedReason, suspendedMethod } = rule;
  if (method?.kind !== 'found' || suspendedReason === null || suspendedReason === 'disputed') return rule;
  if (methodHash({ id: method.methodId, fingerprint: method.fingerprint }) === suspendedMethod) return rule;
  const resumed = resume(rule);
  await saveRule(tx, resumed);
  await tellOfTopUps(tx, [{ kind: 'resumed', rule: resumed, cause: 'payment_method' }], now);
  return resumed;
}

interface Waiting {
  readonly key: WalletKey;
  readonly decision: Extract<TopUpDecision, { kind: 'wait' }>;
  readonly now: Date;
}

async function putOff(tx: Tx, { key, decision: { why, until }, now }: Waiting): Promise<void> {
  const { merchantId, customerId, currency } = key;
  const at = (retryAt: Date) => setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt }]);
  const after = (milliseconds: number) => at(new Date(now.getTime() + milliseconds));
  switch (why) {
    case 'disabled':
    case 'above':
      return removeTopUpDue(tx, key);
    case 'not_active':
      return after(LOOK.notActive);
    case 'suspended':
      return after(LOOK.suspended);
    case 'in_flight':
      return after(LOOK.inFlight);
    case 'back_off':
    case 'interval':
      invariant(until !== null, 'a wait for a time without the time');
      return at(until);
  }
}

interface Blocked {
  readonly rule: TopUpRule;
  readonly decision: Extract<TopUpDecision, { kind: 'blocked' }>;
  readonly refill: WantedRefill | null;
  readonly now: Date;
}

/** Tells why nothing is charged, once in the period. */
async function block(tx: Tx, { rule, decision: { block: reason, until }, refill, now }: Blocked): Promise<void> {
  const { merchantId, customerId, currency, blocks } = rule;
  const blockedUntil = blocks[reason];
  if (blockedUntil === undefined || new Date(blockedUntil) <= now) {
    await saveRule(tx, { ...rule, blocks: { ...blocks, [reason]: until.toISOString() } });
    await tellOfTopUps(tx, [{ kind: 'blocked', rule, block: reason, until }], now);
  }
  const retryAt = new Date(Math.min(until.getTime(), now.getTime() + soonest(reason, refill)));
  await setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt }]);
}

/** What may be charged before the end of a block, though nobody puts a wallet on the list that stands there. */
function soonest(reason: Block, refill: WantedRefill | null): number {
  if (reason === 'max_per_day') return Number.POSITIVE_INFINITY;
  // The balance may have become low, and that may want less.
  if (refill !== null) return LOOK.blockedRefill;
  // A smaller balance wants more, which may be enough.
  return reason === 'below_minimum' ? LOOK.belowMinimum : Number.POSITIVE_INFINITY;
}

interface Attempting extends Beginning {
  readonly amount: number;
  readonly refill: WantedRefill | null;
  readonly month: Period;
}

async function attempt(tx: Tx, rule: TopUpRule, attempting: Attempting): Promise<TopUp | null> {
  const { key, now, method } = attempting;
  const { merchantId, customerId, currency } = key;
  const next = new Date(now.getTime() + rule.minIntervalSeconds * 1000);
  const isPaidHere = rule.payment !== null;
  // The balance fell only after the provider would have been asked: the next look asks first.
  if (isPaidHere && method === null) {
    await setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt: now }]);
    return null;
  }
  // A key of another account would charge everybody, and credit nobody: until an event has come, nobody else is charged.
  if (rule.payment !== null && !attempting.isProven && (await isUnderWayAt(tx, { merchantId, ...rule.payment }))) {
    const retryAt = new Date(now.getTime() + LOOK.unproven);
    await setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt }]);
    return null;
  }
  // Its wallet is locked, so that it is put there, or the transaction fails.
  tx.withoutWaiting(setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt: next }]));
  const topUp = newTopUp(rule, attempting);
  if (topUp.method !== null && (await declinesOf(tx, { merchantId, method: topUp.method, now })) >= MOST_DECLINES) {
    const suspended = suspend(rule, { reason: 'too_many_declines', method: topUp.method, now });
    await saveRule(tx, suspended);
    await tellOfTopUps(tx, [{ kind: 'suspended', rule: suspended }], now);
    return null;
  }
  const expiresAt = isPaidHere ? null : nextLook('requested', now, now);
  invariant(isPaidHere || expiresAt !== null, 'a request without an end');
  await Promise.all([
    insertTopUp(tx, topUp),
    attempting.refill === null ? null : noteTried(tx, attempting.refill),
    expiresAt === null ? null : tellOfTopUps(tx, [{ kind: 'requested', topUp, expiresAt }], now),
  ]);
  if (!isPaidHere) return null;
  if (topUp.request !== null) return topUp;
  const answer = { kind: 'declined', paymentId: null, declineCode: NO_PAYMENT_METHOD } as const;
  await recordNews(tx, { rule, topUp }, { news: { kind: 'answer', answer }, now });
  return null;
}

function newTopUp(rule: TopUpRule, { key, method, amount, refill, month, now }: Attempting): TopUp {
  const { merchantId, customerId, currency } = key;
  const topUpId = newId('topUp');
  const state = rule.payment === null ? 'requested' : 'charging';
  const isFound = rule.payment !== null && method?.kind === 'found';
  const request = isFound
    ? {
        ...{ amount, currency, customerId: rule.payment.providerCustomerId, methodId: method.methodId },
        metadata: metadataOf({ customerId, topUpId }),
      }
    : null;
  return {
    ...{ merchantId, customerId, currency, topUpId, origin: refill === null ? 'threshold' : 'schedule' },
    ...{ state, amount, request },
    sourceId: rule.payment?.sourceId ?? null,
    requestHash: request === null ? null : requestHash(request),
    session: null,
    method: isFound ? methodHash({ id: method.methodId, fingerprint: method.fingerprint }) : null,
    ...{ cap: rule.monthlyCap, monthSince: month.since, isLate: false },
    idempotencyKey: refill?.idempotencyKey ?? null,
    ...{ paymentId: null, seriesId: null, reason: null, declineCode: null },
    askedAt: request === null ? null : now,
    leasedUntil: request === null ? null : new Date(now.getTime() + LEASE_MS),
    lookAt: nextLook(state, now, now),
    ...{ createdAt: now, settledAt: null },
  };
}
