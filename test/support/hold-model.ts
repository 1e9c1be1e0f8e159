import fc from 'fast-check';
import type { CommandResult, LedgerCommand } from '../../src/ledger/post.ts';
import { MERCHANT, posting } from './ledger.ts';

/**
 * What holds must do, as simply as possible: one wallet after another, one command after another, a list of holds that is gone
 * through whole. It is written from the rules in docs/wallets.md, not from the code.
 */

interface ModelHold {
  readonly no: number;
  readonly key: string;
  readonly request: string;
  /** By a dispute, whose end alone ends it. */
  readonly isOwned?: true;
  amount: number;
  captured: number;
  beyond: number;
  state: 'open' | 'captured' | 'released' | 'expired';
  endsAt: number;
  wasLate: boolean;
}

interface ModelWallet {
  balance: number;
  entries: number;
  lastEntryAt: number;
  readonly holds: ModelHold[];
  /** Holds that were told of as expired. */
  expired: number;
  status: 'active' | 'frozen' | 'closed';
  isPaused: boolean;
  statusChanges: number;
}

/** The outcome of a command: how it ended, and what matters of it as text. */
export type ModelOutcome = string;

const say = (...facts: readonly (string | number | null)[]): ModelOutcome => facts.join(' ');

export class HoldModel {
  readonly wallets = new Map<string, ModelWallet>();
  readonly #entryKeys = new Map<string, { readonly request: string; readonly seq: number }>();

  constructor(customers: readonly string[], start: number) {
    for (const customer of customers) {
      this.wallets.set(customer, { balance: 0, entries: 0, lastEntryAt: start, holds: [], expired: 0, ...NEW });
    }
  }

  heldIn(customer: string): number {
    return this.#wallet(customer).holds.reduce((sum, hold) => sum + left(hold), 0);
  }

  do(command: LedgerCommand, clock: number): ModelOutcome {
    const wallet = this.#wallet(command.customerId);
    const now = Math.max(clock, wallet.lastEntryAt);
    for (const hold of wallet.holds) {
      if (hold.state === 'open' && hold.endsAt <= now) {
        hold.state = 'expired';
        wallet.expired += 1;
      }
    }
    if (!('op' in command)) return this.#post(wallet, command, now);
    if (command.op === 'sweep') return 'swept';
    if (command.op === 'change_status') return this.#setStatus(wallet, command);
    if (command.op === 'hold_disputes') return this.#holdDisputes(wallet, command);
    if ('lotNo' in command || command.op === 'open_checkout')
      throw new Error('the model of holds knows no lots, and no checkouts');
    if (command.op === 'place') return this.#place(wallet, command, now);
    if (command.op === 'capture') return this.#capture(wallet, command, now);
    const hold = wallet.holds.find(({ no }) => no === command.holdNo);
    if (hold === undefined) return 'HOLD_NOT_FOUND';
    if (hold.isOwned) return 'HOLD_OWNED';
    if (command.op === 'release') {
      if (hold.state === 'captured') return 'HOLD_NOT_OPEN captured';
      if (hold.state === 'open') hold.state = 'released';
      return say('changed', ...shown(hold));
    }
    if (hold.state !== 'open') return say('HOLD_NOT_OPEN', hold.state);
    const amount = command.amountMinor ?? hold.amount;
    if (amount < hold.captured) return 'INVALID_FIELD';
    const free = wallet.balance - this.heldIn(command.customerId);
    if (amount > hold.amount && wallet.status !== 'active') return 'WALLET_FROZEN';
    if (amount > hold.amount && amount - hold.amount > free) return say('INSUFFICIENT_WALLET_FUNDS', Math.max(free, 0));
    if (amount === hold.captured) hold.state = hold.captured > 0 ? 'captured' : 'released';
    else {
      hold.amount = amount;
      if (command.expiresInSeconds !== null) hold.endsAt = now + command.expiresInSeconds * 1000;
    }
    return say('changed', ...shown(hold));
  }

  #wallet(customer: string): ModelWallet {
    const wallet = this.wallets.get(customer);
    if (wallet === undefined) throw new Error('a customer whom the model does not have');
    return wallet;
  }

  #post(wallet: ModelWallet, command: Exclude<LedgerCommand, { op: string }>, now: number): ModelOutcome {
    const before = this.#repeated(command, command.idempotencyKey);
    if (before !== null) return before;
    const { amountMinor: amount, isCredit, eventType } = command;
    if (eventType === 'merchant_adjustment' && wallet.status === 'closed') return 'WALLET_CLOSED';
    if (eventType === 'merchant_adjustment' && !isCredit && wallet.status === 'frozen') return 'WALLET_FROZEN';
    const free = wallet.balance - this.heldIn(command.customerId);
    if (!isCredit && amount > free && eventType !== 'payment_reversal')
      return say('INSUFFICIENT_WALLET_FUNDS', Math.max(free, 0));
    if (wallet.status === 'closed') {
      wallet.status = 'frozen';
      wallet.statusChanges += 1;
    }
    this.#write(wallet, command, { amount: isCredit ? amount : -amount, now });
    return say('created', wallet.balance);
  }

  #place(wallet: ModelWallet, command: Extract<LedgerCommand, { op: 'place' }>, now: number): ModelOutcome {
    const same = wallet.holds.find(({ key }) => key === command.idempotencyKey);
    if (same?.request === JSON.stringify(command)) return say('held_before', ...shown(same));
    if (same !== undefined) return 'IDEMPOTENCY_KEY_REUSED';
    if (wallet.status !== 'active') return wallet.status === 'frozen' ? 'WALLET_FROZEN' : 'WALLET_CLOSED';
    const free = Math.max(wallet.balance - this.heldIn(command.customerId), 0);
    const amount = command.partial ? Math.min(command.amountMinor, free) : command.amountMinor;
    if (amount === 0 || amount > free) return say('INSUFFICIENT_WALLET_FUNDS', free);
    const hold: ModelHold = {
      no: wallet.holds.length + 1,
      key: command.idempotencyKey,
      request: JSON.stringify(command),
      amount,
      captured: 0,
      beyond: 0,
      state: 'open',
      endsAt: now + command.expiresInSeconds * 1000,
      wasLate: false,
    };
    wallet.holds.push(hold);
    return say('placed', ...shown(hold));
  }

  #capture(wallet: ModelWallet, command: Extract<LedgerCommand, { op: 'capture' }>, now: number): ModelOutcome {
    const before = this.#repeated(command, command.idempotencyKey);
    if (before !== null) return before;
    const hold = wallet.holds.find(({ no }) => no === command.holdNo);
    if (hold === undefined) return 'HOLD_NOT_FOUND';
    if (hold.isOwned) return 'HOLD_OWNED';
    const free = Math.max(wallet.balance - this.heldIn(command.customerId), 0);
    const isLate = hold.state === 'expired' && command.late === 'debit' && !hold.wasLate;
    if (hold.state !== 'open' && !isLate) return say('HOLD_NOT_OPEN', hold.state);
    const rest = isLate ? hold.amount - hold.captured : left(hold);
    if (isLate && wallet.status !== 'active') return wallet.status === 'frozen' ? 'WALLET_FROZEN' : 'WALLET_CLOSED';
    const asked = command.amountMinor ?? rest;
    if (command.beyond === 'refuse' && asked > rest) return say('HOLD_AMOUNT_EXCEEDED', rest);
    if (command.beyond === 'take' && asked > rest && wallet.status !== 'active') return 'WALLET_FROZEN';
    const own = isLate ? 0 : Math.min(asked, rest, Math.max(wallet.balance, 0));
    const more = Math.min(asked - (isLate ? 0 : Math.min(asked, rest)), free);
    const extra = wallet.status === 'active' ? more : 0;
    if (command.beyond !== 'up_to_balance' && own + extra < asked) {
      return say('INSUFFICIENT_WALLET_FUNDS', isLate ? free : Math.min(rest, Math.max(wallet.balance, 0)) + free);
    }
    if (asked > 0 && own + extra === 0 && (isLate || !command.isFinal)) return say('INSUFFICIENT_WALLET_FUNDS', 0);
    hold.captured += own;
    hold.beyond += extra;
    if (isLate && extra > 0) hold.wasLate = true;
    if (!isLate && (command.isFinal || hold.captured === hold.amount)) hold.state = own > 0 ? 'captured' : 'released';
    if (own + extra > 0) this.#write(wallet, command, { amount: -own - extra, now });
    return say('captured', own + extra, asked - own - extra, ...shown(hold));
  }

  #setStatus(wallet: ModelWallet, command: Extract<LedgerCommand, { op: 'change_status' }>): ModelOutcome {
    const { status } = command;
    const isPaused = status === 'frozen' && (command.pauseExpiry ?? wallet.isPaused);
    if (status !== wallet.status || isPaused !== wallet.isPaused) {
      const isEmpty = wallet.balance === 0 && wallet.holds.every((hold) => hold.state !== 'open');
      if (status === 'closed' && !isEmpty) return say('WALLET_NOT_EMPTY', wallet.balance);
      Object.assign(wallet, { status, isPaused, statusChanges: wallet.statusChanges + 1 });
    }
    return say('status_set', status, wallet.statusChanges);
  }

  /** In four rounds: what is over, what is less, what may grow by what was freed or came back, what is new. */
  #holdDisputes(wallet: ModelWallet, command: Extract<LedgerCommand, { op: 'hold_disputes' }>): ModelOutcome {
    const free = () => Math.max(wallet.balance - this.heldIn(command.customerId), 0);
    const open = (key: string) => wallet.holds.find((hold) => hold.key === key && hold.state === 'open');
    let freed = command.returned;
    for (const { wanted, idempotencyKey } of command.disputes) {
      const hold = open(idempotencyKey);
      if (wanted > 0 || hold === undefined) continue;
      hold.state = 'released';
      freed += hold.amount;
    }
    for (const { wanted, before, idempotencyKey } of command.disputes) {
      const hold = open(idempotencyKey);
      if (wanted === 0 || wanted >= before || hold === undefined) continue;
      const rest = this.heldIn(command.customerId) - hold.amount;
      const amount = Math.min(wanted, hold.amount, Math.max(wallet.balance - rest, 0));
      if (amount === 0) hold.state = 'released';
      else hold.amount = amount;
    }
    for (const { wanted, before, idempotencyKey } of command.disputes) {
      const hold = open(idempotencyKey);
      if (before === 0 || hold === undefined || wanted <= hold.amount) continue;
      const more = Math.min(wanted - hold.amount, freed, free());
      hold.amount += more;
      freed -= more;
    }
    for (const { wanted, before, idempotencyKey: key } of command.disputes) {
      const amount = Math.min(wanted, free());
      if (before > 0 || amount === 0 || wallet.holds.some((hold) => hold.key === key)) continue;
      const rest = { captured: 0, beyond: 0, state: 'open' as const, endsAt: Number.POSITIVE_INFINITY, wasLate: false };
      wallet.holds.push({ no: wallet.holds.length + 1, key, request: 'dispute', isOwned: true, amount, ...rest });
    }
    const holdNos = command.disputes.map(({ idempotencyKey }) => open(idempotencyKey)?.no ?? null);
    return say('disputes_held', ...holdNos);
  }

  #repeated(
    command: LedgerCommand & { readonly idempotencyKey: string | null },
    key: string | null,
  ): ModelOutcome | null {
    const before = key === null ? undefined : this.#entryKeys.get(`${command.customerId} ${key}`);
    if (before === undefined) return null;
    return before.request === JSON.stringify(command) ? say('repeated', before.seq) : 'IDEMPOTENCY_KEY_REUSED';
  }

  #write(
    wallet: ModelWallet,
    command: LedgerCommand & { readonly idempotencyKey: string | null },
    { amount, now }: { readonly amount: number; readonly now: number },
  ): void {
    wallet.balance += amount;
    wallet.entries += 1;
    wallet.lastEntryAt = now;
    const { customerId, idempotencyKey } = command;
    if (idempotencyKey === null) return;
    this.#entryKeys.set(`${customerId} ${idempotencyKey}`, { request: JSON.stringify(command), seq: wallet.entries });
  }
}

const NEW = { status: 'active', isPaused: false, statusChanges: 0 } as const;

function left({ state, amount, captured }: ModelHold): number {
  return state === 'open' ? amount - captured : 0;
}

function shown({ no, state, amount, captured, beyond }: ModelHold): readonly (string | number)[] {
  return [no, state, amount, captured, beyond];
}

/** What the ledger answered, in the words of the model. */
export function inModelWords(outcome: CommandResult): ModelOutcome {
  switch (outcome.kind) {
    case 'refused': {
      const { refusal } = outcome;
      if (refusal.code === 'INSUFFICIENT_WALLET_FUNDS') return say(refusal.code, refusal.available);
      if (refusal.code === 'WALLET_NOT_EMPTY') return say(refusal.code, refusal.left);
      if (refusal.code === 'HOLD_AMOUNT_EXCEEDED') return say(refusal.code, refusal.remaining);
      return refusal.code === 'HOLD_NOT_OPEN' ? say(refusal.code, refusal.state) : refusal.code;
    }
    case 'created':
      return say('created', outcome.entry.afterBalance);
    case 'repeated':
      return say('repeated', outcome.entry.seq);
    case 'swept':
      return 'swept';
    case 'disputes_held':
      return say(outcome.kind, ...outcome.holdNos);
    case 'captured': {
      const { entry, uncaptured } = outcome;
      return say('captured', entry?.amountMinor ?? 0, uncaptured, ...ofHold(outcome.hold));
    }
    case 'status_set':
      return say('status_set', outcome.wallet.status, outcome.last?.changeNo ?? 0);
    case 'voided':
    case 'lot_changed':
    case 'checkout_opened':
    case 'opened_before':
      throw new Error('the model of holds knows no lots, and no checkouts');
    default:
      return say(outcome.kind, ...ofHold(outcome.hold));
  }
}

function ofHold(hold: Extract<CommandResult, { kind: 'placed' }>['hold']): readonly (string | number)[] {
  return [hold.holdNo, hold.state, hold.amountMinor, hold.captured, hold.beyond];
}

/** What happens at once: the clock jumps, forward as a rule, and a batch of commands comes. */
export interface HoldStep {
  readonly seconds: number;
  readonly commands: readonly LedgerCommand[];
}

const amount = fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constantFrom(1, 10, 20, 100));
const orNothing = fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 40 }));
const holdNo = fc.integer({ min: 1, max: 8 });
const key = fc.constantFrom('k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k8', 'k9');
const seconds = fc.constantFrom(10, 10, 20, 60);

/** Freezes, closes and opens wallets, more often the last. */
export function statusChange(wallet: {
  readonly merchantId: fc.Arbitrary<string>;
  readonly customerId: fc.Arbitrary<string>;
  readonly currency: fc.Arbitrary<string>;
}) {
  const asked = fc.constantFrom(
    ...[
      { status: 'active' as const, pauseExpiry: null },
      { status: 'active' as const, pauseExpiry: null },
    ],
    ...[
      { status: 'frozen' as const, pauseExpiry: null },
      { status: 'frozen' as const, pauseExpiry: true },
    ],
    ...[
      { status: 'frozen' as const, pauseExpiry: false },
      { status: 'closed' as const, pauseExpiry: null },
    ],
  );
  const rest = { op: fc.constant('change_status' as const), reason: fc.constant('why'), actor: fc.constant('key:one') };
  return fc.record({ ...wallet, ...rest, asked }).map(({ asked: own, ...command }) => ({ ...command, ...own }));
}

/** Steps on the wallets of these customers, in USD. */
export function holdSteps(customers: readonly string[]): fc.Arbitrary<readonly HoldStep[]> {
  const wallet = {
    merchantId: fc.constant(MERCHANT),
    customerId: fc.constantFrom(...customers),
    currency: fc.constant('USD'),
  };
  const place = fc.record({
    ...{
      ...wallet,
      op: fc.constant('place' as const),
      amountMinor: amount,
      partial: fc.boolean(),
      expiresInSeconds: seconds,
    },
    ...{ reason: fc.constantFrom(null, 'why'), referenceObjectId: fc.constant('job'), metadata: fc.constant(null) },
    idempotencyKey: key,
  });
  const capture = fc.record({
    ...{ ...wallet, op: fc.constant('capture' as const), holdNo, amountMinor: orNothing, isFinal: fc.boolean() },
    beyond: fc.constantFrom('refuse' as const, 'take' as const, 'up_to_balance' as const),
    late: fc.constantFrom('refuse' as const, 'debit' as const),
    ...{ reason: fc.constant(null), metadata: fc.constantFrom(null, { model: 'large' }) },
    idempotencyKey: fc.oneof(fc.constant(null), key),
  });
  const release = fc.record({ ...wallet, op: fc.constant('release' as const), holdNo, reason: fc.constant(null) });
  const change = fc.record({
    ...{ ...wallet, op: fc.constant('change' as const), holdNo, amountMinor: orNothing },
    expiresInSeconds: fc.oneof(fc.constant(null), seconds),
  });
  const sweep = fc.record({ ...wallet, op: fc.constant('sweep' as const) });
  const status = statusChange(wallet);
  const wanted = fc.oneof(fc.constant(0), amount);
  const disputes = fc.record({
    ...{ ...wallet, op: fc.constant('hold_disputes' as const), paymentId: fc.constant('pay') },
    reason: fc.constant('a payment'),
    returned: wanted,
    disputes: fc.uniqueArray(
      fc.record({
        ...{ disputeId: fc.constantFrom('d1', 'd2'), before: wanted, wanted },
        idempotencyKey: fc.constantFrom(
          'src:hold_dispute:pay:d1',
          'src:hold_dispute:pay:d2',
          'src:hold_dispute:pay:d2#2',
        ),
      }),
      { selector: ({ idempotencyKey }) => idempotencyKey, maxLength: 3 },
    ),
  });
  const entry = fc
    .record({
      ...{ customerId: wallet.customerId, amountMinor: amount, idempotencyKey: fc.oneof(fc.constant(null), key) },
      kind: fc.constantFrom('credit', 'credit', 'debit', 'claw-back'),
    })
    .map(({ kind, ...rest }) =>
      posting({
        ...rest,
        isCredit: kind === 'credit',
        eventType: kind === 'claw-back' ? 'payment_reversal' : 'merchant_adjustment',
      }),
    );
  const command = fc.oneof<[fc.Arbitrary<LedgerCommand>, ...fc.Arbitrary<LedgerCommand>[]]>(
    place,
    place,
    capture,
    capture,
    entry,
    release,
    change,
    sweep,
    status,
    disputes,
  );
  const step = fc.record({
    seconds: fc.constantFrom(0, 0, 1, 5, 10, 15, 30, -3),
    commands: fc.array(command, { minLength: 1, maxLength: 6 }),
  });
  return fc.array(step, { minLength: 1, maxLength: 25 });
}
