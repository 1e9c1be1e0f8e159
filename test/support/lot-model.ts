import fc from 'fast-check';
import type { LotTerms, Posting } from '../../src/ledger/entry.ts';
import type { CommandResult, LedgerCommand } from '../../src/ledger/post.ts';
import { statusChange } from './hold-model.ts';
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
  status: 'active' | 'frozen' | 'closed';
  statusChanges: number;
  lastChangeAt: number;
  /** No lot ends since then. */
  pausedAt: number | null;
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
  /** What entries under a key moved, one minor unit each: the number of its lot, 0 for the base. In the order in which they were written. */
  readonly #moved = new Map<string, Moved>();

  constructor(customers: readonly string[], start: number) {
    for (const customer of customers) {
      this.wallets.set(customer, { base: 0, entries: 0, lastEntryAt: start, lots: [], holds: [], ...NEW });
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
      case 'change_status':
        return this.#setStatus(wallet, command, now);
      case 'place': {
        if (wallet.holds.some((hold) => hold.key === command.idempotencyKey)) return 'again';
        if (wallet.status !== 'active') return wallet.status === 'frozen' ? 'WALLET_FROZEN' : 'WALLET_CLOSED';
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
      case 'open_checkout':
        throw new Error('the model of lots knows no checkouts');
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
    if (lot.endsAt <= lotTime(wallet, lot, now)) return say('LOT_NOT_OPEN', 'expired');
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
    const isOwn = eventType === 'merchant_adjustment';
    if (isOwn && wallet.status === 'closed') return 'WALLET_CLOSED';
    if (isOwn && !isCredit && wallet.status === 'frozen') return 'WALLET_FROZEN';
    if (wallet.status === 'closed') this.#change(wallet, { status: 'frozen', isPaused: false, now });
    if (!isCredit) {
      const isTaking = eventType === 'payment_reversal' || eventType === 'dispute';
      if (!isTaking && amount > free(wallet)) return say('INSUFFICIENT_WALLET_FUNDS', Math.max(free(wallet), 0));
      this.#debit(command, amount, now, isTaking);
      return say('created', balance(wallet));
    }
    if (command.restores !== undefined) return this.#giveBack(command, now);
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

  /** Unit by unit, what was taken last first. */
  #giveBack(command: Credit, now: number): LotOutcome {
    const { customerId, amountMinor } = command;
    const wallet = this.#wallet(customerId);
    const units = this.#undone(command).taken.reverse().slice(0, amountMinor);
    this.#entry(command, now);
    wallet.base += amountMinor;
    const back: number[] = [];
    let last: { readonly unit: Unit; readonly lot: ModelLot } | null = null;
    const moved = new Map<ModelLot, number>();
    for (const unit of units) {
      const old = wallet.lots[unit.no - 1];
      if (old === undefined || wallet.base <= 0) continue;
      const isSame = last !== null && last.unit.no === unit.no && last.unit.key === unit.key;
      const lot: ModelLot =
        isSame && last !== null
          ? last.lot
          : old.state === 'open' && old.endsAt > lotTime(wallet, old, now)
            ? old
            : after(wallet, old, { now, at: unit.at });
      last = { unit, lot };
      if (lot === old) lot.gone.takenBack -= 1;
      lot.left += 1;
      wallet.base -= 1;
      back.push(lot.no);
      moved.set(lot, (moved.get(lot) ?? 0) + 1);
    }
    for (const [lot, amount] of moved) this.movements.push(say(customerId, wallet.entries, lot.no, amount));
    this.#remember(command, { isCredit: true, at: now, units: back });
    return say('created', balance(wallet));
  }

  /** What the entries that it restores took and did not give back, unit by unit, and what they gave back and did not take again. */
  #undone({ customerId, restores = [] }: Written): { taken: Unit[]; given: number[] } {
    const { lots } = this.#wallet(customerId);
    const rank = (no: number) => (no === 0 ? FIRST : no === DEBT ? LAST : rankOf(nth(lots, no)));
    const taken: Unit[] = [];
    const given: number[] = [];
    for (const [key, { isCredit, at, units, amount }] of this.#moved) {
      if (!restores.some((one) => key === `${customerId} ${one}`)) continue;
      const sorted = [...units].sort((one, other) => compare(rank(one), rank(other)));
      if (isCredit) {
        taken.splice(-amount);
        given.push(...sorted);
      } else {
        given.splice(-amount);
        taken.push(...sorted.map((no) => ({ no, key, at })));
      }
    }
    return { taken, given };
  }

  #remember(command: Written, moved: Omit<Moved, 'amount'>): void {
    const { customerId, idempotencyKey, amountMinor: amount } = command;
    if (idempotencyKey != null) this.#moved.set(`${customerId} ${idempotencyKey}`, { ...moved, amount: amount ?? 0 });
  }

  #debit(command: Written, amount: number, now: number, isTaking = false): void {
    const { customerId } = command;
    const wallet = this.#wallet(customerId);
    const again = this.#undone(command).given.reverse();
    this.#entry(command, now);
    const lots = wallet.lots.filter(({ left }) => left > 0).sort((one, other) => compare(rankOf(one), rankOf(other)));
    const taken = new Map(lots.map((lot) => [lot, 0]));
    const units: number[] = [];
    const take = (lot: ModelLot) => {
      if (units.length === amount || lot.left === (taken.get(lot) ?? lot.left)) return;
      taken.set(lot, (taken.get(lot) ?? 0) + 1);
      units.push(lot.no);
    };
    for (const no of again) for (const lot of lots) if (lot.no === no) take(lot);
    // What a hold kept is spent by its capture.
    for (const lot of 'op' in command ? lots.filter((one) => one.endsAt <= lotTime(wallet, one, now)) : []) {
      for (let unit = 0; unit < lot.left; unit += 1) take(lot);
    }
    const base = { rank: isTaking ? FIRST : BASE, lot: null };
    const sources = [...lots.map((lot) => ({ lot, rank: rankOf(lot) })), base];
    for (const { lot } of sources.sort((one, other) => compare(one.rank, other.rank))) {
      const there = lot === null ? Math.max(wallet.base, 0) : lot.left;
      for (let unit = 0; unit < there; unit += 1) {
        if (lot !== null) take(lot);
        else if (units.length < amount) units.push(0);
      }
    }
    for (const [lot, part] of taken) {
      if (part > 0) this.#drain(customerId, lot, { amount: part, way: isTaking ? 'takenBack' : 'spent' });
    }
    // The rest is a debt.
    while (units.length < amount) units.push(DEBT);
    wallet.base -= units.filter((no) => no === 0 || no === DEBT).length;
    this.#remember(command, { isCredit: false, at: now, units });
  }

  #drain(customerId: string, lot: ModelLot, { amount, way }: { readonly amount: number; readonly way: Way }): void {
    lot.left -= amount;
    lot.gone[way] += amount;
    const wallet = this.#wallet(customerId);
    if (lot.left === 0) {
      lot.state = ENDS[way];
      goOn(wallet, lot, wallet.lastEntryAt);
    }
    this.movements.push(say(customerId, this.#wallet(customerId).entries, lot.no, -amount));
  }

  /** What time does. */
  #pass(customerId: string, now: number): void {
    const wallet = this.#wallet(customerId);
    for (const hold of wallet.holds) if (hold.endsAt <= now) hold.left = 0;
    if (wallet.pausedAt !== null) return;
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

  #setStatus(
    wallet: ModelWallet,
    { status, pauseExpiry }: Extract<LedgerCommand, { op: 'change_status' }>,
    now: number,
  ): LotOutcome {
    const wasPaused = wallet.pausedAt !== null;
    const isPaused = status === 'frozen' && (pauseExpiry ?? wasPaused);
    if (status !== wallet.status || isPaused !== wasPaused) {
      const isEmpty = balance(wallet) === 0 && wallet.holds.every(({ left }) => left === 0);
      if (status === 'closed' && !isEmpty) return say('WALLET_NOT_EMPTY', balance(wallet));
      this.#change(wallet, { status, isPaused, now });
    }
    return say('status_set', status, wallet.statusChanges);
  }

  #change(
    wallet: ModelWallet,
    { status, isPaused, now }: Pick<ModelWallet, 'status'> & { readonly isPaused: boolean; readonly now: number },
  ): void {
    if (!isPaused) for (const lot of wallet.lots) if (lot.left > 0) goOn(wallet, lot, now);
    wallet.status = status;
    wallet.statusChanges += 1;
    wallet.lastChangeAt = Math.max(now, wallet.lastChangeAt);
    wallet.pausedAt = isPaused ? wallet.lastChangeAt : null;
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

const NEW = { status: 'active', statusChanges: 0, lastChangeAt: 0, pausedAt: null } as const;

/** Where the time of a lot stands: in a pause it does not go on. */
function lotTime({ pausedAt }: ModelWallet, { from }: ModelLot, now: number): number {
  return pausedAt === null ? now : Math.min(now, Math.max(pausedAt, from));
}

/** The lot has as much time left as it had when the pause began, and is told of as that wants. */
function goOn(wallet: ModelWallet, lot: ModelLot, now: number): void {
  const stood = now - lotTime(wallet, lot, now);
  if (stood === 0 || lot.endsAt === Infinity || lot.endsAt <= now - stood) return;
  lot.endsAt += stood;
  lot.noticed = noticeNow(lot, now, 0) ?? 0;
}

interface Moved {
  readonly isCredit: boolean;
  readonly at: number;
  readonly amount: number;
  readonly units: readonly number[];
}

interface Unit {
  readonly no: number;
  readonly key: string;
  readonly at: number;
}

/** The lot that follows one of which nothing is left. */
function after(
  wallet: ModelWallet,
  old: ModelLot,
  { now, at }: { readonly now: number; readonly at: number },
): ModelLot {
  const gone = { spent: 0, expired: 0, voided: 0, takenBack: 0 };
  const endsAt = Math.max(old.endsAt, now + old.endsAt - at);
  const { kind, priority } = old;
  const lot = {
    no: wallet.lots.length + 1,
    kind,
    from: now,
    left: 0,
    priority,
    endsAt,
    noticed: 0,
    gone,
    state: 'open',
  };
  wallet.lots.push(lot);
  return lot;
}

type Written = {
  readonly customerId: string;
  readonly idempotencyKey?: string | null;
  readonly restores?: readonly string[];
  readonly amountMinor?: number | null;
};

const balance = ({ base, lots }: ModelWallet) => lots.reduce((sum, { left }) => sum + left, base);
const free = (wallet: ModelWallet) => wallet.holds.reduce((sum, { left }) => sum - left, balance(wallet));

function nth(lots: readonly ModelLot[], no: number): ModelLot {
  const lot = lots[no - 1];
  if (lot === undefined) throw new Error(`no lot ${no}`);
  return lot;
}

/** Priority, end, promotional ones first and then the base, number. */
const rankOf = (lot: ModelLot) => [lot.priority, lot.endsAt, lot.kind === 'promo' ? 0 : 2, lot.no];
const BASE = [50, Infinity, 1, 0];
const FIRST = [-1];
const LAST = [101];
/** The number of no lot, for what was not there. */
const DEBT = -1;

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
      if (refusal.code === 'WALLET_NOT_EMPTY') return say(refusal.code, refusal.left);
      if (refusal.code === 'LOT_AMOUNT_EXCEEDED') return say(refusal.code, refusal.remaining);
      return refusal.code === 'LOT_NOT_OPEN' ? say(refusal.code, refusal.state) : refusal.code;
    }
    case 'status_set':
      return say('status_set', outcome.wallet.status, outcome.last?.changeNo ?? 0);
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
    case 'checkout_opened':
    case 'opened_before':
      throw new Error('holds of this model are of no disputes, and of no checkouts');
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
  const dispute = fc
    .record({ customerId: wallet.customerId, amountMinor: amount, number: fc.constantFrom(1, 2, 3, 4) })
    .map(({ number: count, ...rest }) => partOfDispute(posting(rest), count));
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
  const status = statusChange(wallet);
  const command = fc.oneof<[fc.Arbitrary<LedgerCommand>, ...fc.Arbitrary<LedgerCommand>[]]>(
    entry,
    entry,
    entry,
    dispute,
    place,
    capture,
    release,
    voidLot,
    change,
    sweep,
    status,
  );
  const step = fc.record({
    seconds: fc.constantFrom(0, 0, 1, 60, 3600, 43_200, 86_400, 100_000, -3),
    commands: fc.array(command, { minLength: 1, maxLength: 6 }),
  });
  return fc.array(step, { minLength: 1, maxLength: 25 }).map(withDisputesInOrder);
}

const PART_OF_DISPUTE = 'src:dispute#';

/** A dispute that is lost, won, and lost again, as its news come. */
function partOfDispute(rest: Posting, count: number): Posting {
  const keys = Array.from({ length: count }, (_, index) => `${PART_OF_DISPUTE}${index + 1}`);
  const isCredit = count % 2 === 0;
  return {
    ...rest,
    ...(count > 1 ? { restores: keys.slice(0, -1) } : {}),
    ...{ isCredit, eventType: isCredit ? 'dispute_reversal' : 'dispute', idempotencyKey: keys.at(-1) ?? null },
  };
}

/** The parts of a payment are numbered as they are posted: one comes again, but none before those that it restores. */
function withDisputesInOrder(steps: readonly LotStep[]): readonly LotStep[] {
  const counts = new Map<string, number>();
  return steps.map(({ seconds, commands }) => ({
    seconds,
    commands: commands.map((command) => {
      if ('op' in command || command.idempotencyKey?.startsWith(PART_OF_DISPUTE) !== true) return command;
      const { restores: _, ...rest } = command;
      const before = counts.get(rest.customerId) ?? 0;
      const count = Math.min(Number(command.idempotencyKey.slice(PART_OF_DISPUTE.length)), before + 1);
      counts.set(rest.customerId, Math.max(before, count));
      return partOfDispute(rest, count);
    }),
  }));
}
