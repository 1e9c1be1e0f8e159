import type { Fact, ParkReason } from '../payments/fact.ts';
import type { ProviderName } from './names.ts';

/** A webhook request as received: the exact bytes, and headers with lower-case names. */
export interface Delivery {
  readonly rawBody: Buffer;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Which of the source's secrets matched (so that a rotation can be observed), or why none did. The reason is for logs. */
export type Verification =
  | { readonly ok: true; readonly secretIndex: number }
  | { readonly ok: false; readonly reason: string };

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

/** One payment provider: raw bytes in, facts out; no database, no network, no clock of its own. */
export interface Provider {
  readonly name: ProviderName;
  /**
   * Verifies the signature over the raw bytes with every secret given, in constant time, and refuses stale and future
   * timestamps where the scheme has one. Never throws.
   */
  verify(delivery: Delivery, secrets: readonly string[], now: Date): Verification;
  /** The key under which a repeated delivery is the same delivery; at most 200 characters. Only called once verified. */
  deliveryKey(delivery: Delivery): string;
  /** Never throws: what it cannot read is `parked` as malformed. Depends on the bytes alone, so that a replay repeats it. */
  interpret(rawBody: Buffer): Interpretation;
}
