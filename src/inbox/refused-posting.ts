import type { HoldRefusal } from '../ledger/holds/results.ts';
import type { PostingRefusal } from '../ledger/post.ts';
import type { ParkReason } from '../payments/fact.ts';

/** The ledger refused a posting; everything posted with it is undone. */
export class PostingRefused extends Error {
  readonly refusal: PostingRefusal | HoldRefusal;

  constructor(refused: PostingRefusal | HoldRefusal) {
    super(refused.code);
    this.name = 'PostingRefused';
    this.refusal = refused;
  }
}

/** What an event is parked for whose posting the ledger refuses. */
export function reasonOf(refused: PostingRefusal | HoldRefusal): readonly [reason: ParkReason, detail: string] {
  switch (refused.code) {
    case 'UNSUPPORTED_CURRENCY':
      return [
        'unsupported_currency',
        `There are no wallets in ${refused.currency}. Supported: ${refused.supported.join(', ')}.`,
      ];
    case 'CUSTOMER_NOT_FOUND':
      return ['unknown_customer', `There is no customer ${refused.customerId}.`];
    case 'BALANCE_LIMIT_EXCEEDED':
      return ['balance_limit', `The balance would pass ${refused.most} minor units, the most a wallet can hold.`];
    case 'IDEMPOTENCY_KEY_REUSED':
      return ['apply_failed', `The idempotency key ${refused.idempotencyKey} was used before with other input.`];
    case 'INSUFFICIENT_WALLET_FUNDS':
      return ['apply_failed', `The wallet holds ${refused.available} minor units; ${refused.required} are required.`];
    // What payments do is posted whatever the status.
    case 'WALLET_FROZEN':
    case 'WALLET_CLOSED':
      return ['apply_failed', `The status of the wallet forbids it: ${refused.code}.`];
    // The setting was raised after the payment was decided; its first entry stands.
    case 'PAID_CREDIT_CANNOT_EXPIRE': {
      const least =
        refused.minDays === null ? 'no paid credit may end' : `paid credit lasts for ${refused.minDays} days at least`;
      return [
        'apply_failed',
        `What was paid would end too soon: by PAID_EXPIRY_MIN_DAYS ${least}. Set fewer days and try the event again, or handle it by hand.`,
      ];
    }
    // What is held for a checkout is taken by its owner, and as far as it is there.
    case 'HOLD_NOT_FOUND':
    case 'HOLD_NOT_OPEN':
    case 'HOLD_AMOUNT_EXCEEDED':
    case 'HOLD_LIMIT_EXCEEDED':
    case 'HOLDS_NOT_YET':
    case 'HOLD_OWNED':
    case 'INVALID_FIELD':
      return ['apply_failed', `What is held for the checkout could not be taken: ${refused.code}.`];
    // Payments ask for none of these; what they give is never one lot too many, nor over when it is given.
    case 'LOT_LIMIT_EXCEEDED':
    case 'EXPIRY_IN_THE_PAST':
    case 'LOTS_NOT_YET':
    case 'EFFECTIVE_AT_OUT_OF_RANGE':
      return ['apply_failed', `The terms of the credit were refused: ${refused.code}.`];
  }
}
