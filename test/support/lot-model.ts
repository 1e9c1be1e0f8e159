import fc from 'fast-check';
import type { LotTerms } from '../../src/ledger/entry.ts';
import type { CommandResult, LedgerCommand } from '../../src/ledger/post.ts';
import { LOT_RULE, MERCHANT, posting } from './ledger.ts';

/**
 * What lots must do, as simply as possible: one wallet after another, one command after another, everything that may be spent in one list
 * that is sorted anew each time, and time looked at before and after each command. It is written from the rules in docs/wallets.md, not
 * from the code. Holds are here as far as lots meet them: placed, captured and released whole.
 */

const DAY = 24 * 60 * 60 * 1000;

interface ModelLot {
  readonly no: number;
  readonly kind: LotTerms['kind'];
  readonly from: number;
  left: number;
  priority: number;
  endsAt: number;
  noticed: number;
  readonly gone: Record<'spent' | 'expired' | 'voided' | 'takenBack', number>;
  state: string;
}

interface ModelWallet {
  /** Below 0: a debt. */
  base: number;
  entries: number;
  lastEntryAt: number;
  readonly lots: ModelLot[];
  readonly holds: { readonly key: string; left: number; readonly endsAt: number; isCaptured: boolean }[];
}

type Credit = Exclude<LedgerCommand, { op: string }>;
type Way = keyof ModelLot['gone'];

const ENDS: Readonly<Record<Way, string>> = {
  spent: 'drained',
  expired: 'expired',
  voided: 'voided',
  takenBack: 'taken_back',
};

/** The outcome of a command: how it ended, and what matters of it as text. */
export type LotOutcome = string;

const say = (...facts: readonly (string | number)[]): LotOutcome => facts.join(' ');

export class LotModel {
  readonly wallets = new Map<string, ModelWallet>();
  /** What entries moved in lots: customer, entry, lot, amount. */
  readonly movements: string[] = [];
  /** What was told of before its end: customer, lot, days. */
  readonly notices: string[] = [];
  readonly #keys = new Map<string, string>();

  constructor(customers: readonly string[], start: number) {
    for (const customer of customers) {
      this.wallets.set(customer, { base: 0, entries: 0, lastEntryAt: start, lots: [], holds: [] });
    }
  }

  /** A wallet's lots as rows that can be compared. */
  lotsOf(customer: string): readonly string[] {
    return this.#wallet(customer).lots.map((lot) => {
      const { spent, expired, voided, takenBack } = lot.gone;
      return say(lot.no, lot.kind, lot.state, lot.left, spent, expired, voided, takenBack, lot.priority, lot.endsAt);
    });
  }

  balanceOf(customer: string): number {
    return balance(this.#wallet(customer));
  }

  do(command: LedgerCommand, clock: number): LotOutcome {
    const wallet = this.#wallet(command.customerId);
    const now = () => Math.max(clock, wallet.lastEntryAt);
    this.#pass(command.customerId, now());
    const outcome = this.#decide(command, now());
    this.#pass(command.customerId, now());
    return outcome;
  }

  #decide(command: LedgerCommand, now: number): LotOutcome {
    const wallet = this.#wallet(command.customerId);
    const key = 'idempotencyKey' in command ? command.idempotencyKey : null;
    const isHold = 'op' in command && command.op === 'place';
    const before = key === null || isHold ? undefined : this.#keys.get(`${command.customerId} ${key}`);
    if (before !== undefined) return before === JSON.stringify(command) ? 'repeated' : 'IDEMPOTENCY_KEY_REUSED';
    if (!('op' in command)) return this.#post(command, now);
    switch (command.op) {
      case 'sweep':
        return 'swept';
      case 'place': {
        if (wallet.holds.some((hold) => hold.key === command.idempotencyKey)) return 'again';
        if (command.amountMinor > free(wallet)) return say('INSUFFICIENT_WALLET_FUNDS', Math.max(free(wallet), 0));
        const endsAt = now + command.expiresInSeconds * 1000;
        wallet.holds.push({ key: command.idempotencyKey, left: command.amountMinor, endsAt, isCaptured: false });
        return say('placed', command.amountMinor);
      }
      case 'release':
      case 'capture': {
        const hold = wallet.holds[command.holdNo - 1];
        if (hold === undefined) return 'HOLD_NOT_FOUND';
        if (hold.left === 0) return command.op === 'release' && !hold.isCaptured ? 'done 0' : 'over';
        const taken = command.op === 'release' ? 0 : (command.amountMinor ?? hold.left);
        if (taken > hold.left) return 'HOLD_AMOUNT_EXCEEDED';
        const there = Math.max(balance(wallet), 0);
        const available = Math.min(hold.left, there) + Math.max(free(wallet), 0);
        if (taken > there) return say('INSUFFICIENT_WALLET_FUNDS', available);
        hold.left = 0;
        hold.isCaptured = taken > 0;
        if (taken > 0) this.#debit(command, taken, now);
        return say('done', taken);
      }
      case 'change':
      case 'hold_disputes':
        throw new Error('holds of this model are neither changed nor of disputes');
      default:
        return this.#ofLot(command, now);
    }
  }

  #ofLot(command: Extract<LedgerCommand, { lotNo: number }>, now: number): LotOutcome {
    const wallet = this.#wallet(command.customerId);
    const lot = wallet.lots[command.lotNo - 1];
    if (lot === undefined) return 'LOT_NOT_FOUND';
    if (lot.left === 0) return say('LOT_NOT_OPEN', lot.state);
    if (command.op === 'void_lot') {
      const amount = command.amountMinor ?? lot.left;
      if (amount > lot.left) return say('LOT_AMOUNT_EXCEEDED', lot.left);
      if (amount > free(wallet)) return say('INSUFFICIENT_WALLET_FUNDS', Math.max(free(wallet), 0));
      this.#entry(command, now);
      this.#drain(command.customerId, lot, { amount, way: 'voided' });
      return say('voided', amount, lot.left);
    }
    if (lot.endsAt <= now) return say('LOT_NOT_OPEN', 'expired');
    const endsAt = command.end === null ? lot.endsAt : (command.end.at?.getTime() ?? Infinity);
    if (endsAt < lot.endsAt && endsAt <= now) return 'EXPIRY_IN_THE_PAST';
    if (endsAt < lot.endsAt && (lot.kind === 'paid' || lot.kind === 'refund')) return 'PAID_CREDIT_CANNOT_EXPIRE';
    if (endsAt !== lot.endsAt) {
      lot.endsAt = endsAt;
      lot.noticed = noticeNow(lot, now, 0) ?? 0;
    }
    lot.priority = command.priority ?? lot.priority;
    return say('lot_changed', lot.no);
  }

  #post(command: Credit, now: number): LotOutcome {
    const wallet = this.#wallet(command.customerId);
    const { amountMinor: amount, isCredit, eventType, terms } = command;
    if (!isCredit) {
      const isTaking = eventType === 'payment_reversal';
      if (!isTaking && amount > free(wallet)) return say('INSUFFICIENT_WALLET_FUNDS', Math.max(free(wallet), 0));
      this.#debit(command, amount, now, isTaking);
      return say('created', balance(wallet));
    }
    const endsAt = terms === undefined ? Infinity : endOf(terms, now);
    if (endsAt <= now) return 'EXPIRY_IN_THE_PAST';
    const isPaid = terms?.kind === 'paid' || terms?.kind === 'refund';
    if (isPaid && endsAt < now + (LOT_RULE.paidExpiryMinDays ?? Infinity) * DAY) return 'PAID_CREDIT_CANNOT_EXPIRE';
    this.#entry(command, now);
    const repaid = Math.min(amount, Math.max(-wallet.base, 0));
    const rest = amount - repaid;
    wallet.base += terms === undefined ? amount : repaid;
    if (terms !== undefined && rest > 0) {
      const gone = { spent: 0, expired: 0, voided: 0, takenBack: 0 };
      const { kind, priority } = terms;
      const no = wallet.lots.length + 1;
      wallet.lots.push({ no, kind, from: now, left: rest, priority, endsAt, noticed: 0, gone, state: 'open' });
      this.movements.push(say(command.customerId, wallet.entries, no, rest));
    }
    return say('created', balance(wallet));
  }

  #debit(command: Written, amount: number, now: number, isTaking = false): void {
    const { customerId } = command;
    const wallet = this.#wallet(customerId);
    this.#entry(command, now);
    const lots = wallet.lots.filter(({ left }) => left > 0).map((lot) => ({ lot, rank: rankOf(lot) }));
    const sources = [...lots, { lot: null, rank: isTaking ? FIRST : BASE }].sort((one, other) =>
      compare(one.rank, other.rank),
    );
    let left = amount;
    for (const { lot } of sources) {
      const taken = Math.min(left, lot === null ? Math.max(wallet.base, 0) : lot.left);
      if (taken === 0) continue;
      if (lot === null) wallet.base -= taken;
      else this.#drain(customerId, lot, { amount: taken, way: isTaking ? 'takenBack' : 'spent' });
      left -= taken;
    }
    wallet.base -= left;
  }

  #drain(customerId: string, lot: ModelLot, { amount, way }: { readonly amount: number; readonly way: Way }): void {
    lot.left -= amount;
    lot.gone[way] += amount;
    if (lot.left === 0) lot.state = ENDS[way];
    this.movements.push(say(customerId, this.#wallet(customerId).entries, lot.no, -amount));
  }

  /** What time does. */
  #pass(customerId: string, now: number): void {
    const wallet = this.#wallet(customerId);
    for (const hold of wallet.holds) if (hold.endsAt <= now) hold.left = 0;
    const over = wallet.lots.filter(({ left, endsAt }) => left > 0 && endsAt <= now);
    over.sort((one, other) => one.endsAt - other.endsAt || compare(rankOf(other), rankOf(one)));
    for (const lot of over) {
      const amount = Math.min(lot.left, Math.max(free(wallet), 0));
      if (amount === 0) continue;
      wallet.entries += 1;
      wallet.lastEntryAt = now;
      this.#drain(customerId, lot, { amount, way: 'expired' });
    }
    for (const lot of wallet.lots) {
      const days = lot.left > 0 && lot.endsAt > now ? noticeNow(lot, now, lot.noticed) : null;
      if (days === null) continue;
      lot.noticed = days;
      if (lot.left >= (LOT_RULE.noticeMinimums.get('USD') ?? 1)) this.notices.push(say(customerId, lot.no, days));
    }
  }

  #entry(command: Written, now: number): void {
    const wallet = this.#wallet(command.customerId);
    wallet.entries += 1;
    wallet.lastEntryAt = now;
    const { customerId, idempotencyKey = null } = command;
    if (idempotencyKey !== null) this.#keys.set(`${customerId} ${idempotencyKey}`, JSON.stringify(command));
  }

  #wallet(customer: string): ModelWallet {
    const wallet = this.wallets.get(customer);
    if (wallet === undefined) throw new Error('a customer whom the model does not have');
    return wallet;
  }
}

type Written = { readonly customerId: string; readonly idempotencyKey?: string | null };

const balance = ({ base, lots }: ModelWallet) => lots.reduce((sum, { left }) => sum + left, base);
const free = (wallet: ModelWallet) => wallet.holds.reduce((sum, { left }) => sum - left, balance(wallet));

/** Priority, end, promotional ones first and then the base, number. */
const rankOf = (lot: ModelLot) => [lot.priority, lot.endsAt, lot.kind === 'promo' ? 0 : 2, lot.no];
const BASE = [50, Infinity, 1, 0];
const FIRST = [-1];

function compare(one: readonly number[], other: readonly number[]): number {
  for (const [index, value] of one.entries()) {
    const difference = value === other[index] ? 0 : value - (other[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function endOf({ end }: LotTerms, now: number): number {
  if (end === null) return Infinity;
  return 'at' in end ? end.at.getTime() : now + end.days * DAY;
}

function noticeNow({ from, endsAt }: ModelLot, now: number, noticed: number): number | null {
  if (endsAt === Infinity) return null;
  const due = LOT_RULE.noticeDays
    .filter((days) => days * 2 <= (endsAt - from) / DAY)
    .filter((days) => endsAt - days * DAY <= now && (noticed === 0 || days < noticed));
  return due.length === 0 ? null : Math.min(...due);
}

/** What the ledger answered, in the words of the model. */
export function inLotWords(outcome: CommandResult): LotOutcome {
  switch (outcome.kind) {
    case 'refused': {
      const { refusal } = outcome;
      if (refusal.code === 'HOLD_NOT_OPEN') return 'over';
      if (refusal.code === 'INSUFFICIENT_WALLET_FUNDS') return say(refusal.code, refusal.available);
      if (refusal.code === 'LOT_AMOUNT_EXCEEDED') return say(refusal.code, refusal.remaining);
      return refusal.code === 'LOT_NOT_OPEN' ? say(refusal.code, refusal.state) : refusal.code;
    }
    case 'created':
      return say('created', outcome.entry.afterBalance);
    case 'repeated':
    case 'swept':
      return outcome.kind;
    case 'placed':
      return say('placed', outcome.hold.amountMinor);
    case 'held_before':
      return 'again';
    case 'captured':
      return say('done', outcome.entry?.amountMinor ?? 0);
    case 'changed':
      return 'done 0';
    case 'disputes_held':
      throw new Error('holds of this model are of no disputes');
    case 'voided':
      return say('voided', outcome.entry.amountMinor, outcome.lot.remaining);
    case 'lot_changed':
      return say('lot_changed', outcome.lot.lotNo);
  }
}

/** What happens at once: time passes, and a batch of commands comes. */
export interface LotStep {
  readonly seconds: number;
  readonly commands: readonly LedgerCommand[];
}

const START = new Date('2026-03-01T12:00:00Z').getTime();
const amount = fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constantFrom(1, 10, 20, 100));
const key = fc.constantFrom('k1', 'k2', 'k3', 'k4', 'k5', 'k6');
const number = fc.integer({ min: 1, max: 8 });
const days = fc.constantFrom(1, 1, 2, 4, 9);
const at = days.map((count) => new Date(START + count * DAY));

const terms: fc.Arbitrary<LotTerms> = fc.record({
  kind: fc.constantFrom('promo' as const, 'promo' as const, 'adjustment' as const, 'paid' as const),
  name: fc.constant(null),
  priority: fc.constantFrom(50, 50, 50, 10, 90),
  end: fc.oneof(
    fc.constant(null),
    days.map((count) => ({ days: count })),
    at.map((time) => ({ at: time })),
  ),
});

/** Steps on the wallets of these customers, in USD. */
export function lotSteps(customers: readonly string[]): fc.Arbitrary<readonly LotStep[]> {
  const wallet = {
    merchantId: fc.constant(MERCHANT),
    customerId: fc.constantFrom(...customers),
    currency: fc.constant('USD'),
  };
  const entry = fc
    .record({
      ...{ customerId: wallet.customerId, amountMinor: amount, idempotencyKey: fc.oneof(fc.constant(null), key) },
      kind: fc.constantFrom('credit', 'lot', 'lot', 'lot', 'debit', 'debit', 'claw-back'),
      terms,
    })
    .map(({ kind, terms: own, ...rest }) =>
      posting({
        ...rest,
        ...(kind === 'lot' ? { terms: own } : {}),
        isCredit: kind === 'credit' || kind === 'lot',
        eventType: kind === 'claw-back' ? 'payment_reversal' : 'merchant_adjustment',
      }),
    );
  const place = fc.record({
    ...{ ...wallet, op: fc.constant('place' as const), amountMinor: amount, partial: fc.constant(false) },
    ...{
      expiresInSeconds: fc.constantFrom(60, 86_400),
      reason: fc.constant(null),
      referenceObjectId: fc.constant('job'),
    },
    ...{ metadata: fc.constant(null), idempotencyKey: fc.uuid() },
  });
  const capture = fc.record({
    ...{ ...wallet, op: fc.constant('capture' as const), holdNo: number, isFinal: fc.constant(true) },
    ...{ amountMinor: fc.oneof(fc.constant(null), amount), beyond: fc.constant('refuse' as const) },
    ...{ late: fc.constant('refuse' as const), reason: fc.constant(null), metadata: fc.constant(null) },
    idempotencyKey: fc.constant(null),
  });
  const release = fc.record({
    ...wallet,
    op: fc.constant('release' as const),
    holdNo: number,
    reason: fc.constant(null),
  });
  const voidLot = fc.record({
    ...{ ...wallet, op: fc.constant('void_lot' as const), lotNo: number },
    ...{ amountMinor: fc.oneof(fc.constant(null), amount), reason: fc.constant('why'), idempotencyKey: key },
  });
  const change = fc.record({
    ...{ ...wallet, op: fc.constant('change_lot' as const), lotNo: number },
    end: fc.oneof(
      fc.constant(null),
      fc.constant({ at: null }),
      at.map((time) => ({ at: time })),
    ),
    priority: fc.constantFrom(null, 50, 20, 80),
    ...{ reason: fc.constant('why'), actor: fc.constant('key:one') },
  });
  const sweep = fc.record({ ...wallet, op: fc.constant('sweep' as const) });
  const command = fc.oneof<[fc.Arbitrary<LedgerCommand>, ...fc.Arbitrary<LedgerCommand>[]]>(
    entry,
    entry,
    entry,
    place,
    capture,
    release,
    voidLot,
    change,
    sweep,
  );
  const step = fc.record({
    seconds: fc.constantFrom(0, 0, 1, 60, 3600, 43_200, 86_400, 100_000, -3),
    commands: fc.array(command, { minLength: 1, maxLength: 6 }),
  });
  return fc.array(step, { minLength: 1, maxLength: 25 });
}
