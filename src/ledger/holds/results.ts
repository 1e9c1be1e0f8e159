import type { Refusal } from '../../errors.ts';
import type { Entry, Wallet } from '../entry.ts';
import type { Hold } from './hold.ts';

/** What becomes of commands about holds. */

export type HoldRefusal = Refusal<
  | 'UNSUPPORTED_CURRENCY'
  | 'CUSTOMER_NOT_FOUND'
  | 'WALLET_FROZEN'
  | 'WALLET_CLOSED'
  | 'INSUFFICIENT_WALLET_FUNDS'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'HOLD_NOT_FOUND'
  | 'HOLD_NOT_OPEN'
  | 'HOLD_AMOUNT_EXCEEDED'
  | 'HOLD_LIMIT_EXCEEDED'
  | 'HOLDS_NOT_YET'
  | 'HOLD_OWNED'
  | 'INVALID_FIELD'
>;

/** Nothing was changed. `hold`: as it stands, where that is why. */
export interface RefusedHold {
  readonly kind: 'refused';
  readonly refusal: HoldRefusal;
  readonly hold?: Hold;
}

/** `placed`, or `held_before`: the same request was made before under the same key; here is its hold as it now stands. */
export type PlaceResult =
  | { readonly kind: 'placed'; readonly hold: Hold; readonly wallet: Wallet }
  | { readonly kind: 'held_before'; readonly hold: Hold; readonly wallet: Wallet | null }
  | RefusedHold;

/** `captured`, also where nothing was there to take and so no entry was written; `repeated` as for other entries. */
export type CaptureResult =
  | {
      readonly kind: 'captured';
      readonly hold: Hold;
      readonly entry: Entry | null;
      /** What was asked for and not there. */
      readonly uncaptured: number;
      readonly wallet: Wallet;
    }
  | { readonly kind: 'repeated'; readonly entry: Entry; readonly wallet: Wallet | null }
  | RefusedHold;

/** `changed`: the hold is as it was asked to be, whether that changed it or not. */
export type ChangeResult = { readonly kind: 'changed'; readonly hold: Hold; readonly wallet: Wallet } | RefusedHold;

/** `holdNos`: the open hold of each dispute, in the order of the command; null where it has none. */
export type DisputesResult =
  | { readonly kind: 'disputes_held'; readonly holdNos: readonly (number | null)[]; readonly wallet: Wallet }
  | { readonly kind: 'refused'; readonly refusal: Refusal<'UNSUPPORTED_CURRENCY' | 'CUSTOMER_NOT_FOUND'> };

interface SweepResult {
  readonly kind: 'swept';
  readonly wallet: Wallet | null;
}

export type HoldResult = PlaceResult | CaptureResult | ChangeResult | DisputesResult | SweepResult;
