import type { Fact, Naming, ParkReason, Tie } from '../../payments/fact.ts';
import type { ProviderName } from './names.ts';

/** A webhook request as received: the exact bytes, and headers with lower-case names. */
export interface Delivery {
  /** The network that it came from, as limits count it. */
  readonly from?: string;
  readonly rawBody: Buffer;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/**
 * Which of the source's secrets matched (so that a rotation can be observed), or why none did. The reason is for logs.
 * `unavailable`: the signature cannot be checked now, so the provider must send again (PayPal, without its certificate);
 * `isLimited`: it was not checked, since too much that was most likely invented comes from there.
 */
export type Verification =
  | { readonly ok: true; readonly secretIndex: number }
  | { readonly ok: false; readonly reason: string; readonly unavailable?: true; readonly isLimited?: true };

/** The payment that a parked body names, though the body could not be read as a whole. */
export interface NamedPayment {
  readonly paymentId: string;
  /**
   * `payment`: it is news of the payment itself. `movement`: of its refund, its dispute or its invoice. `object`: the id is not
   * the payment's but that of a refund, dispute or group, under which the event is found.
   */
  readonly of: 'payment' | 'movement' | 'object';
}

/** What a parked body still tells. */
export interface PartialReading {
  readonly names?: NamedPayment;
  /** Its facts without their amounts, which is what somebody closes who handles it by hand. */
  readonly facts?: readonly Fact[];
}

/**
 * What a verified body means.
 * `livemode` is set if the body itself tells whether it is a test or a live event (Stripe).
 */
export type Interpretation =
  | {
      readonly kind: 'facts';
      readonly eventType: string;
      readonly facts: readonly Fact[];
      readonly naming?: Naming;
      readonly ties?: readonly Tie[];
      readonly livemode?: boolean;
    }
  | {
      readonly kind: 'ignored';
      readonly eventType: string;
      readonly reason: string;
      /** The provider's customer who may have something else to pay with since. */
      readonly payer?: string;
      readonly livemode?: boolean;
    }
  | (PartialReading & {
      readonly kind: 'parked';
      readonly eventType: string;
      readonly reason: ParkReason;
      readonly detail: string;
      readonly livemode?: boolean;
    });

/**
 * One payment provider: raw bytes in, facts out. It uses no database and no clock of its own, and no network except for PayPal's
 * certificates. So only PayPal's verification is a promise (`Checked`).
 */
export interface Provider<Checked extends Verification | Promise<Verification> = Verification> {
  readonly name: ProviderName;
  /**
   * Why `verify` would refuse any body that came with these headers, such as for a signature that is missing; null if it
   * depends on the body. It costs next to nothing, so that a body is only read if this is null.
   */
  headersProblem(headers: Delivery['headers'], now: Date): string | null;
  /**
   * Verifies the signature over the raw bytes with every secret given, in constant time, and refuses stale and future
   * timestamps where the scheme has one. Never throws.
   */
  verify(delivery: Delivery, secrets: readonly string[], now: Date): Checked;
  /** A text of at most 200 characters that is the same for a repeated delivery. Only called after verification. */
  deliveryKey(delivery: Delivery): string;
  /** Never throws: a body that it cannot read is `parked` as malformed. The result depends on the bytes alone, also at a replay. */
  interpret(rawBody: Buffer): Interpretation;
}

/** A provider whose verification may have to wait; `await` serves both kinds. */
export type AnyProvider = Provider<Verification | Promise<Verification>>;
