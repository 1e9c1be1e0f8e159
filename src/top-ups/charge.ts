import type { Charger, MethodReading } from '../charging/charger.ts';
import { type ConnectCharger, mayCharge, type OpenCharger } from '../charging/connect.ts';
import type { GatewayMinimums } from '../charging/minimums.ts';
import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, transaction } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import type { WalletKey } from '../ledger/entry.ts';
import { readWallets } from '../ledger/store.ts';
import { claimTopUpDue, merchantsWithTopUpDue, setTopUpDue, type TopUpClaim } from '../ledger/top-up-due.ts';
import type { Source } from '../merchants/source.ts';
import type { Sources } from '../merchants/sources.ts';
import { findPayments, paymentsThatPosted } from '../payments/lookups.ts';
import { isTriedAgain } from '../payments/record.ts';
import type { Logger } from '../telemetry/log.ts';
import { howToResolve, LEASE_MS, nextLook, type TopUpNews } from './attempt.ts';
import { claimTopUps, lookLater, merchantsWithTopUps, noteAsked } from './attempt-store.ts';
import { begin, wouldCharge } from './begin.ts';
import { besideEachOther, type Slots } from './beside.ts';
import type { Pace } from './pace.ts';
import { lockTopUp, recordNews } from './record.ts';
import type { TopUpRule } from './rule.ts';
import { readRule } from './store.ts';
import type { TopUp } from './tables.ts';
import { isStillWanted } from './wanted.ts';

export interface ChargeServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sources: Sources;
  readonly connect: ConnectCharger;
  readonly minimums: GatewayMinimums;
  readonly pace: Pace;
  /** Has a payment looked for at its provider that the provider's API called a success, and no event confirmed. */
  readonly heal: (topUp: TopUp) => Promise<void>;
  /** Called when something was left to announce. */
  readonly onPosted: () => void;
  readonly signal: AbortSignal;
}

const PAGE_SIZE = 100;
/** What has not begun by then is left to whoever asks next, since the lease may be over before it ends. */
const BEGIN_WITHIN_MS = LEASE_MS / 2;
/** A wallet whose provider cannot be asked now. */
const AGAIN_AFTER_MS = 60_000;

/**
 * Goes on with attempts about which something is to be done, and looks at wallets that are due, of every merchant beside the others. No
 * provider is asked within a transaction; what is asked was committed before, with the key under which it may be asked again.
 * @returns how many attempts and wallets were looked at
 */
export async function chargeTopUps(services: ChargeServices): Promise<{ topUps: number; wallets: number }> {
  const { pool, signal, clock, onPosted, logger } = services;
  const db = autocommit(pool);
  let [topUps, wallets] = [0, 0];
  await besideEachOther({
    signal,
    merchants: async () => {
      const now = clock.now();
      return [...new Set([...(await merchantsWithTopUps(db, now)), ...(await merchantsWithTopUpDue(db, now))])];
    },
    // In turns: where a provider answers slowly, attempts at it are due again as soon as all were looked at.
    async page(merchantId, slots) {
      const ofTopUps = await onePage(services, { merchantId, slots, claim: claimTopUps, work: goOn });
      const ofWallets = await onePage(services, { merchantId, slots, claim: claimTopUpDue, work: fillUp });
      topUps += ofTopUps;
      wallets += ofWallets;
      if (ofTopUps + ofWallets > 0) onPosted();
      return Math.max(ofTopUps, ofWallets) === PAGE_SIZE;
    },
    failed: (merchantId, err) =>
      logger.warn({ err, merchantId }, 'top-ups of a merchant were not looked at and are left to the next run'),
  });
  return { topUps, wallets };
}

interface PageOf<Item> {
  readonly merchantId: string;
  readonly slots: Slots;
  readonly claim: (db: Queryable, claim: TopUpClaim) => Promise<readonly Item[]>;
  readonly work: (services: ChargeServices, item: Item) => Promise<void>;
}

/** Claims a page and works on it; what fails, or could not begin in time, is left to its lease. @returns how many were claimed */
async function onePage<Item extends WalletKey>(services: ChargeServices, page: PageOf<Item>): Promise<number> {
  const { pool, clock, signal, logger } = services;
  const { merchantId, slots, claim, work } = page;
  const now = clock.now();
  const until = new Date(now.getTime() + LEASE_MS);
  const items = await claim(autocommit(pool), { merchantId, now, until, limit: PAGE_SIZE });
  const mayBegin = () => !signal.aborted && clock.now().getTime() - now.getTime() <= BEGIN_WITHIN_MS;
  await slots.forEach(items, async (item) => {
    if (!mayBegin()) return;
    await work(services, item).catch((error: unknown) => {
      const { customerId, currency } = item;
      logger.error({ err: error, merchantId, customerId, currency }, 'a top-up could not be worked on');
    });
  });
  return items.length;
}

/** Looks at one wallet, and charges for it if its rule says so. */
async function fillUp(services: ChargeServices, key: WalletKey): Promise<void> {
  const { pool, clock, minimums } = services;
  const rule = await readRule(autocommit(pool), key);
  const source = rule === null ? null : await sourceOf(services, rule);
  const gatewayMinimum = minimums.of(source?.provider ?? null, key.currency);
  const found = rule === null ? null : await methodFor(services, { rule, source, gatewayMinimum });
  if (found === 'unavailable') {
    const retryAt = new Date(clock.now().getTime() + AGAIN_AFTER_MS);
    const { merchantId, customerId, currency } = key;
    await transaction(pool, (tx) => setTopUpDue(tx, [{ merchantId, customerId, currency, since: retryAt, retryAt }]));
    return;
  }
  const method = found?.method ?? null;
  // What cannot be asked twice must not lapse while it waits: it begins only once it may be asked.
  if (found?.charger?.knowsKeys === false && source !== null)
    await services.pace.take(source.sourceId, services.signal);
  const askedFor = rule?.payment ?? null;
  const asked = { method, askedFor, gatewayMinimum, isProven: found?.charger?.isProven ?? false };
  // A list of one wallet would be planned for anew each time.
  const topUp = await transaction(pool, (tx) => begin(tx, { key, ...asked, now: clock.now() }), { keepsPlans: true });
  if (topUp === null) return;
  invariant(found !== null && found.charger !== null, 'an attempt to charge without anybody to ask');
  await ask(services, topUp, found.charger);
}

async function sourceOf({ pool, sources }: ChargeServices, { merchantId, payment }: TopUpRule): Promise<Source | null> {
  return payment === null ? null : sources.find(autocommit(pool), merchantId, payment.sourceId);
}

interface Wanted {
  readonly rule: TopUpRule;
  readonly source: Source | null;
  readonly gatewayMinimum: number;
}

interface Found {
  readonly method: MethodReading | null;
  readonly charger: OpenCharger | null;
}

/** Asks for the payment method where a charge or the end of a suspension hangs on it. */
async function methodFor(
  services: ChargeServices,
  { rule, source, gatewayMinimum }: Wanted,
): Promise<Found | 'unavailable'> {
  const { pool, clock, connect, logger } = services;
  const { merchantId, customerId, currency, payment } = rule;
  const nobody: Found = { method: null, charger: null };
  if (payment === null || !rule.enabled) return nobody;
  const db = autocommit(pool);
  const wallet = (await readWallets(db, merchantId, [customerId])).find((one) => one.currency === currency);
  // That it is closed ends the rule, whatever the provider says.
  if (wallet === undefined || wallet.status === 'closed') return nobody;
  if (rule.suspendedReason === null) {
    const { decision } = await wouldCharge(db, rule, { wallet, gatewayMinimum, now: clock.now() });
    if (decision.kind !== 'charge') return nobody;
  }
  try {
    const charger = source === null || !mayCharge(source) ? null : await connect(source);
    if (charger === null) {
      logger.warn({ merchantId, sourceId: payment.sourceId }, 'wallets cannot be filled up: the source may not charge');
      return 'unavailable';
    }
    const method = await charger.findMethod(payment.providerCustomerId, payment.paymentMethodId, currency);
    return { method, charger };
  } catch (error) {
    logger.warn({ err: error, merchantId, sourceId: payment.sourceId }, 'a payment method could not be looked up');
    return 'unavailable';
  }
}

/** Asks the provider to charge, and records what it answers. The attempt is committed, and nobody else asks before its lease is over. */
async function ask(services: ChargeServices, topUp: TopUp, charger: Charger): Promise<void> {
  const { clock, pace, signal, logger } = services;
  const { request, sourceId, topUpId } = topUp;
  invariant(request !== null && sourceId !== null, 'an attempt without its request');
  const leasedAt = (topUp.leasedUntil?.getTime() ?? 0) - LEASE_MS;
  if (charger.knowsKeys) await pace.take(sourceId, signal);
  if (clock.now().getTime() - leasedAt > BEGIN_WITHIN_MS) return;
  const answer = await charger.chargeSaved(request, topUpId).catch((error: unknown) => {
    logger.error({ err: error, topUpId }, 'a provider was asked to charge, and what it answered is not known');
    return { kind: 'unknown' as const };
  });
  await hear(services, topUp, { kind: 'answer', answer });
}

async function hear({ pool, clock }: ChargeServices, topUp: TopUp, news: TopUpNews): Promise<void> {
  await transaction(pool, async (tx) => {
    const locked = await lockTopUp(tx, topUp);
    if (locked === null) return;
    const now = clock.now();
    const after = await recordNews(tx, locked, { news, now });
    // An event that came before an answer which was still to be had changed nothing, and does not come again.
    if (after === null || after.topUp.state !== 'processing' || after.topUp.paymentId === null) return;
    const { merchantId, sourceId, paymentId } = after.topUp;
    const payments = await findPayments(tx, merchantId, paymentId);
    const hasFailed = payments.some((one) => one.sourceId === sourceId && one.state === 'failed' && !isTriedAgain(one));
    if (hasFailed) await recordNews(tx, after, { news: { kind: 'payment_failed', paymentId }, now });
  });
}

/** Does what an attempt in flight wants next. */
async function goOn(services: ChargeServices, topUp: TopUp): Promise<void> {
  switch (topUp.state) {
    case 'requested':
      return hear(services, topUp, { kind: 'time_over' });
    case 'processing':
      return (await isPosted(services, topUp)) ? paid(services, topUp) : hear(services, topUp, { kind: 'time_over' });
    case 'charged':
      return (await isPosted(services, topUp)) ? paid(services, topUp) : heal(services, topUp);
    case 'charging':
      await hear(services, topUp, { kind: 'lease_lapsed' });
      return resolve(services, topUp);
    case 'unknown':
      return resolve(services, topUp);
    default:
      return;
  }
}

/** Whether its payment was credited by a process of a release that knew no top-ups, or piece by piece. */
async function isPosted({ pool }: ChargeServices, { merchantId, sourceId, paymentId }: TopUp): Promise<boolean> {
  if (sourceId === null || paymentId === null) return false;
  return (await paymentsThatPosted(autocommit(pool), [{ merchantId, sourceId, paymentId }])).size > 0;
}

async function paid(services: ChargeServices, topUp: TopUp): Promise<void> {
  invariant(topUp.paymentId !== null, 'a payment without its id');
  return hear(services, topUp, { kind: 'paid', paymentId: topUp.paymentId });
}

async function heal({ pool, clock, heal: lookFor }: ChargeServices, topUp: TopUp): Promise<void> {
  const lookAt = nextLook('charged', topUp.createdAt, clock.now());
  if (lookAt !== null) await lookLater(autocommit(pool), topUp, lookAt);
  return lookFor(topUp);
}

/** Finds out what became of a charge whose answer is not known. */
async function resolve(services: ChargeServices, topUp: TopUp): Promise<void> {
  const { pool, clock, sources, connect, logger } = services;
  const { merchantId, sourceId, request, createdAt, askedAt, topUpId } = topUp;
  const cannotAsk = (error: unknown) => {
    logger.warn({ err: error, merchantId, sourceId, topUpId }, 'whose account a charge key opens could not be asked');
    return null;
  };
  invariant(sourceId !== null && request !== null, 'an attempt without its request');
  const source = await sources.find(autocommit(pool), merchantId, sourceId);
  // What may have been charged is asked for also where nothing new may be.
  const charger = source === null ? null : await connect(source).catch(cannotAsk);
  if (charger === null) {
    logger.warn(
      { merchantId, sourceId, topUpId },
      'what became of a charge cannot be asked: the source has no key for it',
    );
    return hear(services, topUp, { kind: 'answer', answer: { kind: 'unknown' } });
  }
  const now = clock.now();
  const isWanted = source !== null && (await isStillWanted(autocommit(pool), topUp, source));
  const { knowsKeys } = charger;
  const how = howToResolve({ createdAt, askedAt: askedAt ?? createdAt, isWanted, knowsKeys }, now);
  switch (how) {
    case 'ask_again':
      await noteAsked(autocommit(pool), topUp, now);
      return ask(services, topUp, charger);
    case 'look_on':
    case 'look': {
      const { customerId, methodId } = request;
      const place = { customerId, methodId, topUpId, since: createdAt };
      const listed = await charger.findCharge(place).catch((error: unknown) => {
        logger.warn({ err: error, merchantId, sourceId, topUpId }, 'a customer’s payments could not be listed');
        return { kind: 'unknown' as const };
      });
      if (listed === null && how === 'look') return hear(services, topUp, { kind: 'not_found' });
      return hear(services, topUp, { kind: 'answer', answer: listed ?? { kind: 'unknown' } });
    }
    case 'wait':
      return hear(services, topUp, { kind: 'answer', answer: { kind: 'unknown' } });
  }
}
