import type { Refusal } from '../../errors.ts';
import type { Wallet, WalletKey, WalletStatus } from '../entry.ts';

/**
 * The status of a wallet is what may happen in it: everything (`active`), nothing that takes money out of it by the merchant's wish
 * (`frozen`), nothing at all but what payments do (`closed`). It never moves money.
 */
export interface StatusChange extends WalletKey {
  /** 1, 2, 3 … within the wallet. */
  readonly changeNo: number;
  readonly oldStatus: WalletStatus;
  readonly newStatus: WalletStatus;
  /** From then on no credit of the wallet comes to its end, until the next change. */
  readonly pauseExpiry: boolean;
  /** Who changed it: `key:<id>`, `operator`, or {@link SERVICE}. */
  readonly actor: string;
  readonly reason: string | null;
  readonly createdAt: Date;
}

/** The actor of what follows from a rule, and nobody asked for. */
export const SERVICE = 'service';

export interface ChangeStatus extends WalletKey {
  readonly op: 'change_status';
  readonly status: WalletStatus;
  /** Null: as it is. Only a frozen wallet has its credit paused. */
  readonly pauseExpiry: boolean | null;
  readonly reason: string;
  readonly actor: string;
}

/** What is under way that may still bring money to a wallet, or take it, besides its holds. */
export interface InFlight {
  /** Those that are open; one that the wallet pays nothing of holds nothing. */
  readonly checkouts: number;
  readonly topUps: number;
}

/** `status_set`: the wallet is as it was asked to be, whether that changed it or not. `last`: the change in force, if there was one. */
export type StatusResult =
  | { readonly kind: 'status_set'; readonly wallet: Wallet; readonly last: StatusChange | null }
  | {
      readonly kind: 'refused';
      readonly refusal: Refusal<
        'UNSUPPORTED_CURRENCY' | 'CUSTOMER_NOT_FOUND' | 'WALLET_NOT_EMPTY' | 'STATUSES_NOT_YET'
      >;
    };
