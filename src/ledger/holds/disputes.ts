import { createHash } from 'node:crypto';
import { invariant } from '../../errors.ts';
import { availableOf, type Wallet } from '../entry.ts';
import type { WorkingBooks } from '../working-books.ts';
import { afterHold, closeHold, withHold } from './changes.ts';
import { type DisputedAmount, type Hold, type HoldDisputes, holdId } from './hold.ts';
import type { DisputesResult } from './results.ts';

/**
 * Sets aside what the open disputes of a payment may take. In this order: what is decided is released, what is less now is lowered,
 * what has less than it wants grows by what was just released or came back of the same payment and no more, and what is new is placed.
 * So a hold never takes later top-ups, which are not disputed.
 */
export function holdDisputes(books: WorkingBooks, command: HoldDisputes): DisputesResult {
  const { customerId, currency, disputes } = command;
  const { currencies } = books;
  const wallet = books.wallet(command);
  if (!currencies.has(currency))
    return { kind: 'refused', refusal: { code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] } };
  if (wallet === null) return { kind: 'refused', refusal: { code: 'CUSTOMER_NOT_FOUND', customerId } };
  const own = new DisputeHolds(books, command);
  for (const one of disputes) if (one.wanted === 0) own.release(one);
  for (const one of disputes) if (one.wanted > 0 && one.wanted < one.before) own.lower(one);
  for (const one of disputes) if (one.wanted > 0 && one.before > 0) own.raise(one);
  for (const one of disputes) if (one.wanted > 0 && one.before === 0) own.place(one);
  return {
    kind: 'disputes_held',
    holdNos: disputes.map((one) => own.find(one)?.holdNo ?? null),
    wallet: own.wallet,
  };
}

/** The holds of one payment's disputes, while a command changes them. */
class DisputeHolds {
  readonly #books: WorkingBooks;
  readonly #command: HoldDisputes;
  /** What releases and the payment's own news gave back, and nothing has taken since. */
  #freed: number;

  constructor(books: WorkingBooks, command: HoldDisputes) {
    this.#books = books;
    this.#command = command;
    this.#freed = command.returned;
  }

  get wallet(): Wallet {
    const wallet = this.#books.wallet(this.#command);
    invariant(wallet !== null, 'a wallet went away while its holds changed');
    return wallet;
  }

  /** The dispute's hold, if it is open. */
  find({ idempotencyKey }: DisputedAmount): Hold | null {
    const hold = this.#books.holdUnder({ ...this.#command, idempotencyKey });
    return hold?.state === 'open' ? hold : null;
  }

  release(one: DisputedAmount): void {
    const hold = this.find(one);
    if (hold === null) return;
    this.#freed += hold.amountMinor;
    this.#change(one, hold, 0);
  }

  /** Down to what is wanted now, and to what other holds leave of the balance after what was taken. */
  lower(one: DisputedAmount): void {
    const hold = this.find(one);
    if (hold === null) return;
    const { balance, held } = this.wallet;
    const room = Math.max(balance - (held - hold.amountMinor), 0);
    this.#change(one, hold, Math.min(one.wanted, hold.amountMinor, room));
  }

  raise(one: DisputedAmount): void {
    const hold = this.find(one);
    if (hold === null) return;
    const more = Math.min(one.wanted - hold.amountMinor, this.#freed, availableOf(this.wallet));
    if (more <= 0) return;
    this.#freed -= more;
    this.#change(one, hold, hold.amountMinor + more);
  }

  /** Once, for what is there: nothing then, nothing ever. */
  place(one: DisputedAmount): void {
    const { merchantId, customerId, currency, reason } = this.#command;
    const { idempotencyKey, disputeId } = one;
    const { wallet } = this;
    const amountMinor = Math.min(one.wanted, availableOf(wallet));
    if (amountMinor < 1 || this.#books.holdUnder({ ...this.#command, idempotencyKey }) !== null) return;
    const hold: Hold = {
      ...{ merchantId, customerId, currency, holdNo: wallet.holdSeq + 1, kind: 'dispute', state: 'open' },
      ...{ amountMinor, captured: 0, beyond: 0, released: 0, lateDebits: 0, expiresAt: null },
      ...{ reason, releaseReason: null, referenceObjectId: disputeId, metadata: null, idempotencyKey },
      fingerprint: fingerprintOf(this.#command, one),
      ...{ createdAt: this.#books.momentIn(wallet), closedAt: null },
    };
    this.#books.put(hold);
    this.#tell(withHold(wallet, hold), one, hold);
  }

  #change(one: DisputedAmount, hold: Hold, amountMinor: number): void {
    if (amountMinor === hold.amountMinor) return;
    const { wallet } = this;
    const releaseReason = this.#command.releaseReason ?? hold.releaseReason;
    const next =
      amountMinor === 0
        ? closeHold({ ...hold, releaseReason }, 'released', this.#books.momentIn(wallet))
        : { ...hold, amountMinor };
    this.#books.put(next);
    this.#tell(afterHold(wallet, hold, next), one, next);
  }

  #tell(wallet: Wallet, { disputeId, wanted }: DisputedAmount, hold: Hold): void {
    const { paymentId } = this.#command;
    const held = hold.state === 'open' ? hold.amountMinor : 0;
    const kind = wallet.held > this.wallet.held ? 'hold_placed' : 'hold_lifted';
    const details = { available: availableOf(wallet), holdId: holdId(hold), paymentId, disputeId, wanted, held };
    this.#books.changeWallet(this.#books.alert(wallet, { kind, details }));
  }
}

function fingerprintOf({ currency, paymentId }: HoldDisputes, { disputeId, wanted }: DisputedAmount): string {
  return createHash('sha256')
    .update(JSON.stringify(['dispute', currency, paymentId, disputeId, wanted]))
    .digest('hex');
}
