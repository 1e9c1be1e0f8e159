import type { Tx } from '../db/transaction.ts';
import type { Checkout } from '../ledger/checkouts/checkout.ts';
import type { Fact, Naming } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import {
  type CarriedToken,
  carriedHash,
  isUsedByAnother,
  type PaymentToken,
  refusedByInvoice,
  usesToken,
} from '../payments/token.ts';
import { lockTokens, saveTokenUses, type TokenKey } from '../payments/token-store.ts';
import type { NamedTopUp } from '../payments/top-up.ts';
import type { LockedEvent, ProviderEvent } from './events.ts';
import { tokenOf } from './groups.ts';

/** An event that may name a group of payments by a token. */
interface NamingWork {
  readonly event: Pick<LockedEvent, 'merchantId' | 'assignedCustomerId'>;
  readonly naming: Naming | null;
}

/** The tokens that the payments of a batch carry, and which of them the batch uses. */
export class Tokens {
  #tokens: ReadonlyMap<string, PaymentToken>;
  #changed: ReadonlySet<string> = new Set();

  private constructor(tokens: readonly PaymentToken[]) {
    this.#tokens = new Map(tokens.map((token) => [keyText(token), token]));
  }

  /** Locks the tokens that these facts may use; asks for nothing where there are none, as is usual. */
  static async lock(
    tx: Tx,
    steps: readonly { readonly fact: Fact; readonly payment: Payment }[],
    works: readonly NamingWork[] = [],
  ): Promise<Tokens> {
    const keys = [
      ...steps.flatMap(({ fact, payment }) => [keyOf(fact, payment), trustedKey(fact, payment)]),
      ...works.map(namingKey),
    ].filter((key) => key !== null);
    const unique = [...new Map(keys.map((key) => [keyText(key), key])).values()];
    return new Tokens(unique.length === 0 ? [] : await lockTokens(tx, unique));
  }

  /** The token that decides about the fact, as earlier facts of the batch left it; null if there is none. */
  of(fact: Fact, payment: Payment): PaymentToken | null {
    const key = keyOf(fact, payment);
    return key === null ? null : (this.#tokens.get(keyText(key)) ?? null);
  }

  /** The fact with the customer of its token as its name, if no payer can have written the token. */
  named(fact: Fact, payment: Payment): Fact {
    const key = trustedKey(fact, payment);
    const token = key === null ? undefined : this.#tokens.get(keyText(key));
    if (token === undefined || token.revokedAt !== null || fact.kind !== 'payment') return fact;
    const { tokenBy: by, named } = fact;
    return by === undefined || named !== undefined ? fact : { ...fact, named: { customerId: token.customerId, by } };
  }

  /** The token by which an event names a group of payments, and why it must not be used; null if it names none by one. */
  ofNaming(work: NamingWork): { readonly token: PaymentToken | null; readonly refused: RefusedByInvoice } | null {
    const key = namingKey(work);
    if (key === null || work.naming === null) return null;
    const token = this.#tokens.get(keyText(key)) ?? null;
    return { token, refused: refusedByInvoice(work.naming, token) };
  }

  /** @returns what forgets all that is noted from now on: it was of an event that is not applied */
  mark(): () => void {
    const [tokens, changed] = [this.#tokens, this.#changed];
    return () => {
      this.#tokens = tokens;
      this.#changed = changed;
    };
  }

  /** Notes that the payment follows the terms of its token, and has used it, if it has. */
  note(fact: Fact, payment: Payment): void {
    const { merchantId, tokenHash } = payment;
    if (tokenHash === null) return;
    const token = this.#tokens.get(keyText({ merchantId, tokenHash }));
    if (token === undefined) return;
    const seriesId = (fact.kind === 'payment' ? fact.seriesId : null) ?? null;
    if (token.usedPaymentId !== null) {
      // The payment was told before in a form that does not name its series, or names its invoice and not its subscription.
      const isBetter = token.seriesId === null || (fact.kind === 'payment' && Boolean(fact.groupToken));
      if (isBetter && seriesId !== null && seriesId !== token.seriesId && !isUsedByAnother(token, payment))
        this.#change({ ...token, seriesId });
      return;
    }
    if (!usesToken(payment)) {
      if (!token.isFollowed) this.#change({ ...token, isFollowed: true });
      return;
    }
    const { sourceId: usedSourceId, paymentId: usedPaymentId } = payment;
    this.#change({ ...token, usedSourceId, usedPaymentId, seriesId, isFollowed: true });
  }

  #change(token: PaymentToken): void {
    this.#tokens = new Map(this.#tokens).set(keyText(token), token);
    this.#changed = new Set(this.#changed).add(keyText(token));
  }

  async save(tx: Tx, now: Date): Promise<void> {
    await saveTokenUses(
      tx,
      [...this.#changed].flatMap((key) => this.#tokens.get(key) ?? []),
      now,
    );
  }
}

type RefusedByInvoice = ReturnType<typeof refusedByInvoice>;

function namingKey({ naming, event }: NamingWork): TokenKey | null {
  const token = naming === null ? null : tokenOf(naming, event);
  return token === null ? null : { merchantId: event.merchantId, tokenHash: token.hash };
}

function keyOf(fact: Fact, payment: Payment): TokenKey | null {
  if (payment.purpose !== null && fact.kind === 'payment' && fact.tokenBy !== undefined)
    return trustedKey(fact, payment);
  const tokenHash = payment.purpose === null ? carriedHash(fact) : usesToken(payment) ? null : payment.tokenHash;
  return tokenHash === null ? null : { merchantId: payment.merchantId, tokenHash };
}

function trustedKey(fact: Fact, { merchantId }: Payment): TokenKey | null {
  const tokenHash = fact.kind === 'payment' && fact.tokenBy !== undefined ? carriedHash(fact) : null;
  return tokenHash === null ? null : { merchantId, tokenHash };
}

function keyText({ merchantId, tokenHash }: TokenKey): string {
  return `${merchantId} ${tokenHash}`;
}

interface Work {
  readonly event: Pick<ProviderEvent, 'receivedAt' | 'assignedCustomerId' | 'acceptsAmount'>;
}

interface Carried {
  readonly fact: Fact;
  readonly payment: Payment;
  readonly checkout: Checkout | null;
  readonly topUp: NamedTopUp | null;
}

/** What is known of the token that decides about a fact. */
export function carriedToken(
  tokens: Tokens,
  { event }: Work,
  { fact, payment, topUp, checkout }: Carried,
): CarriedToken {
  const { receivedAt, assignedCustomerId, acceptsAmount } = event;
  return { token: tokens.of(fact, payment), checkout, acceptsAmount, topUp, receivedAt, assignedCustomerId };
}
