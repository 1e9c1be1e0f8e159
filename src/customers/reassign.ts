import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, type Tx, transaction } from '../db/transaction.ts';
import { invariant, RefusalError, refuse } from '../errors.ts';
import { type Posting, type Wallet, type WalletKey, walletKeyText } from '../ledger/entry.ts';
import type { DisputedAmount, HoldDisputes } from '../ledger/holds/hold.ts';
import { movedBonusKey, moveKey } from '../ledger/keys.ts';
import type { PaymentCommand, PaymentResult } from '../ledger/post.ts';
import { type LedgerMoment, type LedgerSettings, lockWallets, postBatch } from '../ledger/store.ts';
import { momentIn } from '../ledger/working-books.ts';
import { MAX_AMOUNT_MINOR } from '../money.ts';
import { type MovedBonus, movedBonus } from '../payments/bonus-losses.ts';
import { movedHolds, withHoldNos } from '../payments/dispute-holds.ts';
import { bonusTerms, originsOfBonus, originsOfPaid } from '../payments/due.ts';
import { handledCustomer } from '../payments/handled.ts';
import { findPayments } from '../payments/lookups.ts';
import { entriesOfPayment, isLeftUnknown, movedShares, moveEventTypes } from '../payments/move.ts';
import {
  lockPayment,
  type MoveActor,
  movesOf,
  type PaymentMove,
  saveHoldsOf,
  saveLossesOf,
  saveMoves,
} from '../payments/move-store.ts';
import type { Payment } from '../payments/payment.ts';
import { settle } from '../payments/settle.ts';
import { readPayments } from '../payments/store.ts';
import { type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import { requireCustomer } from './store.ts';

export interface ReassignServices {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called after a commit that left something to announce. */
  readonly onPosted: () => void;
}

export interface Reassignment {
  readonly merchantId: string;
  readonly paymentId: string;
  /** Wanted where two sources know the payment's id. */
  readonly sourceId: string | null;
  /** Whose the payment is from now on. */
  readonly customerId: string;
  /** The customer whom the caller believes to have it now: if it is another, the request is refused. Absent: whoever has it. */
  readonly fromCustomerId?: string | null;
  /** Both entries say it. */
  readonly reason: string;
  /** A wallet that cannot give back what it has to is left in debt. */
  readonly force: boolean;
  readonly actor: MoveActor;
}

/**
 * Gives a payment to another customer: whose it was gives back what the payment had left in the wallet, the other one gets
 * it, and what is told of the payment from now on is posted there. Of the customer whose it is already, nothing happens.
 * @throws {RefusalError} NO_SUCH_PAYMENT, CUSTOMER_NOT_FOUND, PAYMENT_OF_NOBODY, PAYMENT_OF_CHECKOUT, PAYMENT_OF_ANOTHER, PAYMENT_MOVE_LIMIT, HANDLED_AMOUNT_UNKNOWN;
 *   INVALID_FIELD where several sources know the payment; INSUFFICIENT_WALLET_FUNDS unless forced, BALANCE_LIMIT_EXCEEDED, or UNSUPPORTED_CURRENCY for one
 *   that has no wallets any more
 */
export async function reassignPayment(services: ReassignServices, wanted: Reassignment): Promise<void> {
  const { pool, onPosted } = services;
  let isPosted: boolean | 'gone' = 'gone';
  // Another source may adopt the payment between the moment it is found and the one it is locked in; then it is found there.
  while (isPosted === 'gone') {
    const key = await sourceOf(autocommit(pool), wanted);
    await requireCustomer(autocommit(pool), wanted.merchantId, wanted.customerId);
    isPosted = await transaction(pool, (tx) => move(tx, services, { ...wanted, ...key }));
  }
  if (isPosted) onPosted();
}

async function sourceOf(db: Queryable, { merchantId, paymentId, sourceId }: Reassignment): Promise<PaymentKey> {
  const found = await findPayments(db, merchantId, paymentId);
  const [one, other] = sourceId === null ? found : found.filter((payment) => payment.sourceId === sourceId);
  if (one === undefined) return refuse({ code: 'NO_SUCH_PAYMENT' });
  if (other === undefined) return { merchantId, paymentId, sourceId: one.sourceId };
  const sources = found.map((payment) => payment.sourceId).join(' or ');
  return refuse({
    code: 'INVALID_FIELD',
    field: 'source_id',
    wants: `wants one of those that know the payment: ${sources}`,
  });
}

/** The life of a payment is read at all of its owners; one that was moved without end would take ever longer to show. */
const MOST_MOVES = 100;

/** @returns whether there was something to post; `gone` if the source does not have the payment any more */
async function move(
  tx: Tx,
  { settings, clock }: ReassignServices,
  wanted: Reassignment & PaymentKey,
): Promise<boolean | 'gone'> {
  const key = { merchantId: wanted.merchantId, sourceId: wanted.sourceId, paymentId: wanted.paymentId };
  await lockPayment(tx, key);
  const payment = (await readPayments(tx, [key])).get(paymentKeyText(key));
  if (payment === undefined) return 'gone';
  const owner = payment.customerId ?? handledCustomer(payment);
  if (owner === wanted.customerId) return false;
  if (owner === null) return refuse({ code: 'PAYMENT_OF_NOBODY' });
  if (payment.purpose === 'checkout') return refuse({ code: 'PAYMENT_OF_CHECKOUT' });
  if (owner !== (wanted.fromCustomerId ?? owner)) refuse({ code: 'PAYMENT_OF_ANOTHER', customerId: owner });
  if (isLeftUnknown(payment)) refuse({ code: 'HANDLED_AMOUNT_UNKNOWN' });
  const before = await movesOf(tx, [key]);
  if (before.length >= MOST_MOVES) refuse({ code: 'PAYMENT_MOVE_LIMIT', most: MOST_MOVES });
  const asked = { ...settings, now: clock.now() };
  const wallets = await lockWallets(tx, walletsOf(payment, [owner, wanted.customerId]), asked);
  // One time for both wallets: what is over in one of them is not given to the other.
  const now = [...wallets.values()].reduce((latest, wallet) => momentIn(wallet, latest), asked.now);
  const moment = { ...settings, now };
  // What its own disputes hold goes with it.
  const release = holdsAt(owner, payment, { wanted, from: owner, disputes: movedHolds(payment, []).released });
  await postAll(tx, release, moment);
  const bonus = await movedBonus(tx, payment, { to: wanted.customerId, moment });
  const next = { ...payment, ...bonus?.kept };
  const moves = movesOfNow(payment, owner, { wanted, before, now, bonus });
  const postings = moves.flatMap((one) => entriesFor(payment, one, { before, endsAt: bonus?.endsAt ?? null }));
  if (!wanted.force) refuseOverdrafts(postings, await lockWallets(tx, postings, moment));
  for (const result of await postAll(tx, postings, moment)) {
    invariant(result.kind === 'created', 'a move was posted before');
  }
  const { placed: disputes, after } = movedHolds(next, settle(next, next.refunds).holds);
  const place = holdsAt(wanted.customerId, payment, { wanted, from: owner, disputes });
  const [placed] = await postAll(tx, place, moment);
  await saveMoves(tx, key, moves);
  if (bonus !== null) await saveLossesOf(tx, key, bonus.kept);
  const holdNos = placed?.kind === 'disputes_held' ? placed.holdNos : [];
  if (release.length > 0 || place.length > 0) await saveHoldsOf(tx, withHoldNos(after, disputes, holdNos));
  return postings.length + release.length + place.length > 0;
}

/** All wallets that a move may touch, which are locked at once and in order. */
function walletsOf(payment: Payment, customerIds: readonly string[]): readonly WalletKey[] {
  const { merchantId, currency: ofPayment } = payment;
  const currencies = new Set([ofPayment, ...movedShares(payment).map(({ currency }) => currency)]);
  return [...currencies].flatMap((currency) =>
    currency === null ? [] : customerIds.map((customerId) => ({ merchantId, customerId, currency })),
  );
}

/** What is held is not given back either: the work it was set aside for may be under way. */
function refuseOverdrafts(postings: readonly Posting[], wallets: ReadonlyMap<string, Wallet>): void {
  const debits = Map.groupBy(
    postings.filter(({ isCredit }) => !isCredit),
    walletKeyText,
  );
  for (const [wallet, own] of debits) {
    const { balance = 0, held = 0 } = wallets.get(wallet) ?? {};
    const [posting] = own;
    const amountMinor = own.reduce((sum, one) => sum + one.amountMinor, 0);
    if (posting !== undefined && balance - held < amountMinor)
      refuseOverdraft({ ...posting, amountMinor }, balance - held);
  }
}

async function postAll(
  tx: Tx,
  commands: readonly PaymentCommand[],
  moment: LedgerMoment,
): Promise<readonly PaymentResult[]> {
  const results = await postBatch(tx, commands, moment);
  for (const result of results) if (result.kind === 'refused') throw new RefusalError(result.refusal);
  return results;
}

interface MovedDisputes {
  readonly wanted: Reassignment;
  readonly from: string;
  readonly disputes: readonly DisputedAmount[];
}

/** What is held for its open disputes goes from wallet to wallet too. */
function holdsAt(
  customerId: string,
  { merchantId, paymentId, currency }: Payment,
  { wanted, from, disputes }: MovedDisputes,
): readonly HoldDisputes[] {
  if (currency === null || disputes.length === 0) return [];
  const reason = `payment ${paymentId} moved from ${from} to ${wanted.customerId}: ${wanted.reason}`;
  return [{ op: 'hold_disputes', merchantId, customerId, currency, paymentId, reason, returned: 0, disputes }];
}

interface MoveNow {
  readonly wanted: Reassignment & PaymentKey;
  readonly before: readonly PaymentMove[];
  readonly now: Date;
  readonly bonus: MovedBonus | null;
}

function movesOfNow(
  payment: Payment,
  fromCustomerId: string,
  { wanted, before, now, bonus }: MoveNow,
): readonly PaymentMove[] {
  const { merchantId, sourceId, paymentId, customerId: toCustomerId, actor, reason } = wanted;
  // What it posted before earlier moves stays where it was posted.
  const entries = entriesOfPayment(payment) - before.reduce((sum, one) => sum + one.entries, 0);
  const shares = movedShares(payment);
  const ofBonus = shares.findIndex(({ currency }) => currency === payment.currency);
  return shares.map(({ currency, net }, index) => ({
    merchantId,
    sourceId,
    paymentId,
    move: before.length + index + 1,
    fromCustomerId,
    toCustomerId,
    net,
    bonus: index === ofBonus ? (bonus?.amount ?? 0) : 0,
    currency,
    entries: index === 0 ? entries : 0,
    actor,
    reason,
    createdAt: now,
  }));
}

interface EntriesOf {
  readonly before: readonly PaymentMove[];
  /** When the bonus ends. */
  readonly endsAt: Date | null;
}

/** What is taken stands before what is given, in one wallet each; of the bonus first, and given last. */
function entriesFor(payment: Payment, one: PaymentMove, { before, endsAt }: EntriesOf): readonly Posting[] {
  const { give, take } = moveEventTypes(payment);
  const { merchantId, sourceId, paymentId, currency, net, bonus, fromCustomerId, toCustomerId } = one;
  const keySource = payment.keySource ?? sourceId;
  if (net === 0 && bonus === 0) return [];
  invariant(currency !== null, 'a move in no currency');
  const shared = {
    merchantId,
    currency,
    referenceObjectId: paymentId,
    metadata: null,
    reason: `payment ${paymentId} moved from ${fromCustomerId} to ${toCustomerId}: ${one.reason}`,
  };
  const ofPaid = {
    ...{ ...shared, amountMinor: Math.abs(net), idempotencyKey: moveKey(keySource, paymentId, one.move) },
    // A move back gives lots what a move away had taken from them.
    restores: before.map(({ move }) => moveKey(keySource, paymentId, move)),
  };
  const [giver, receiver] = net > 0 ? [fromCustomerId, toCustomerId] : [toCustomerId, fromCustomerId];
  const paid: readonly Posting[] = [
    { ...ofPaid, customerId: giver, isCredit: false, eventType: take, origins: originsOfPaid(payment) },
    { ...ofPaid, customerId: receiver, isCredit: true, eventType: give },
  ];
  if (bonus === 0) return paid;
  const ofBonus = { ...shared, amountMinor: bonus, idempotencyKey: movedBonusKey(keySource, paymentId, one.move) };
  const origins = originsOfBonus(payment);
  const terms = { ...bonusTerms(payment), end: endsAt === null ? null : { at: endsAt } };
  return [
    { ...ofBonus, customerId: fromCustomerId, isCredit: false, eventType: 'bonus_reversal', origins },
    ...(net === 0 ? [] : paid),
    { ...ofBonus, customerId: toCustomerId, isCredit: true, eventType: 'bonus', terms },
  ];
}

function refuseOverdraft({ currency, amountMinor }: Posting, free: number): never {
  return refuse({
    code: 'INSUFFICIENT_WALLET_FUNDS',
    currency,
    available: Math.max(free, 0),
    required: amountMinor,
    shortfall: Math.min(amountMinor - free, MAX_AMOUNT_MINOR),
  });
}
