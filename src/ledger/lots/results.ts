import type { Refusal } from '../../errors.ts';
import type { Entry, Wallet } from '../entry.ts';
import type { Lot } from './lot.ts';

/** What becomes of commands about lots. */

export type LotRefusal = Refusal<
  | 'UNSUPPORTED_CURRENCY'
  | 'INSUFFICIENT_WALLET_FUNDS'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'LOT_NOT_FOUND'
  | 'LOT_NOT_OPEN'
  | 'LOT_AMOUNT_EXCEEDED'
  | 'LOT_CHANGE_LIMIT'
  | 'EXPIRY_IN_THE_PAST'
  | 'PAID_CREDIT_CANNOT_EXPIRE'
>;

/** Why a credit cannot have its terms. */
export type TermsRefusal = Refusal<'LOT_LIMIT_EXCEEDED' | 'EXPIRY_IN_THE_PAST' | 'PAID_CREDIT_CANNOT_EXPIRE'>;

/** Nothing was changed. `lot`: as it stands, where that is why. */
export interface RefusedLot {
  readonly kind: 'refused';
  readonly refusal: LotRefusal;
  readonly lot?: Lot;
}

/** `repeated` as for other entries. */
export type VoidResult =
  | { readonly kind: 'voided'; readonly lot: Lot; readonly entry: Entry; readonly wallet: Wallet }
  | { readonly kind: 'repeated'; readonly entry: Entry; readonly wallet: Wallet | null }
  | RefusedLot;

/** `lot_changed`: the lot is as it was asked to be, whether that changed it or not. */
export type ChangeLotResult = { readonly kind: 'lot_changed'; readonly lot: Lot; readonly wallet: Wallet } | RefusedLot;

export type LotResult = VoidResult | ChangeLotResult;
