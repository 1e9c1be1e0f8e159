import type { Fact, ParkReason } from '../../payments/fact.ts';
import type { ProviderName } from './names.ts';

/** A webhook request as received: the exact bytes, and headers with lower-case names. */
export interface Delivery {
  readonly rawBody: Buffer;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/**
 * Which of the source's secrets matched (so that a rotation can be observed), or why none did. The reason is for logs.
 * `unavailable`: nothing can be said now, so the provider must be told to come again (PayPal, whose certificate is away).
 */
export type Verification =
  | { readonly ok: true; readonly secretIndex: number }
  | { readonly ok: false; readonly reason: string; readonly unavailable?: true };

/**
 * What a verified body means.
 * `livemode` is set where the body itself says whether it is a test or a live event (Stripe).
 */
export type Interpretation =
  | { readonly kind: 'facts'; readonly eventType: string; readonly facts: readonly Fact[]; readonly livemode?: boolean }
  | { readonly kind: 'ignored'; readonly eventType: string; readonly reason: string; readonly livemode?: boolean }
  | {
      readonly kind: 'parked';
      readonly eventType: string;
      readonly reason: ParkReason;
      readonly detail: string;
      readonly livemode?: boolean;
    };

/**
 * One payment provider: raw bytes in, facts out; no database, no clock of its own, and no network but for PayPal's
 * certificates, which is why its verification alone is `Checked` by a promise.
 */
export interface Provider<Checked extends Verification | Promise<Verification> = Verification> {
  readonly name: ProviderName;
  /**
   * Verifies the signature over the raw bytes with every secret given, in constant time, and refuses stale and future
   * timestamps where the scheme has one. Never throws.
   */
  verify(delivery: Delivery, secrets: readonly string[], now: Date): Checked;
  /** The key under which a repeated delivery is the same delivery; at most 200 characters. Only called once verified. */
  deliveryKey(delivery: Delivery): string;
  /** Never throws: what it cannot read is `parked` as malformed. Depends on the bytes alone, so that a replay repeats it. */
  interpret(rawBody: Buffer): Interpretation;
}

/** A provider whose verification may have to wait; `await` serves both kinds. */
export type AnyProvider = Provider<Verification | Promise<Verification>>;
