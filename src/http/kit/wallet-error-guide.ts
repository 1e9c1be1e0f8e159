import type { ErrorCode } from '../../views/error-status.ts';

export interface ErrorGuide {
  readonly cause: string;
  readonly cure: string;
  /** An example of the answer's body, without its `code`. */
  readonly sample: { readonly message: string; readonly [detail: string]: unknown };
}

/** Those of wallets that are frozen or closed. */
export const WALLET_ERRORS = {
  WALLET_FROZEN: {
    cause:
      'the merchant froze the wallet, so nothing is taken out of it or set aside; what was held before can be captured',
    cure: 'make it active, if it should be: `PUT /customers/{id}/wallets/{currency}/status`',
    sample: { message: 'The wallet in USD is frozen: nothing is taken out of it or set aside.' },
  },
  WALLET_CLOSED: {
    cause: 'the merchant closed the wallet',
    cure: 'make it active again, if it should be',
    sample: { message: 'The wallet in USD is closed.' },
  },
  WALLET_NOT_EMPTY: {
    cause: 'a wallet that is to be closed has a balance, a debt, open holds or checkouts, or a top-up under way',
    cure: 'debit or credit what is `left`, void lots, end its holds and checkouts, and wait for its top-ups',
    sample: {
      message:
        'A wallet that is to be closed has to be empty: 1 minor units are left, 0 holds and 0 checkouts are open, and 0 top-ups under way.',
      ...{ left: 1, held: 0, open_holds: 0, open_checkouts: 0, topups_under_way: 0 },
    },
  },
  UNSTABLE_KEY: {
    cause: 'the key holds the time, and the merchant wants such keys refused; nothing was written',
    cure: 'make the key from what happened: an order, a job, a request of your own',
    sample: {
      message:
        'The idempotency key holds the time, so that a repeat of this request would have another one and be done twice. Make the key from what happened.',
    },
  },
  STATUSES_NOT_YET: {
    cause:
      'the service was upgraded from a release without statuses, and it was not said yet that the last process of that one has ended',
    cure: 'the operator runs `npm run migrate -- --close-release`; without it, statuses are changed from a week after the migration',
    sample: {
      message:
        'The status of no wallet is changed while a process of the release before may still run, since that would not look at it.',
    },
  },
} satisfies Partial<Record<ErrorCode, ErrorGuide>>;
