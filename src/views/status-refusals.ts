import type { Refusal } from '../errors.ts';

/** The words of refusals about wallets that are frozen or closed, and about keys that are not stable, and about what waits for the end of the release before. */
export const STATUS_WORDS = {
  WALLET_FROZEN: ({ code, currency }: Refusal<'WALLET_FROZEN'>) => ({
    code,
    message: `The wallet in ${currency} is frozen: nothing is taken out of it or set aside.`,
  }),
  WALLET_CLOSED: ({ code, currency }: Refusal<'WALLET_CLOSED'>) => ({
    code,
    message: `The wallet in ${currency} is closed.`,
  }),
  WALLET_NOT_EMPTY: ({ code, left, held, openHolds, checkouts, topUps }: Refusal<'WALLET_NOT_EMPTY'>) => ({
    code,
    message: `A wallet that is to be closed has to be empty: ${left} minor units are left, ${openHolds} holds and ${checkouts} checkouts are open, and ${topUps} top-ups under way.`,
    details: { left, held, open_holds: openHolds, open_checkouts: checkouts, topups_under_way: topUps },
  }),
  HOLDS_NOT_YET: ({ code }: Refusal<'HOLDS_NOT_YET'>) => ({
    code,
    message:
      'No hold is placed while a process of the release before may still run, since that would spend what is held.',
  }),
  LOTS_NOT_YET: ({ code }: Refusal<'LOTS_NOT_YET'>) => ({
    code,
    message:
      'No credit with terms is given while a process of the release before may still run, since that would spend it as any other.',
  }),
  UNSTABLE_KEY: ({ code }: Refusal<'UNSTABLE_KEY'>) => ({
    code,
    message:
      'The idempotency key holds the time, so that a repeat of this request would have another one and be done twice. Make the key from what happened.',
  }),
  STATUSES_NOT_YET: ({ code }: Refusal<'STATUSES_NOT_YET'>) => ({
    code,
    message:
      'The status of no wallet is changed while a process of the release before may still run, since that would not look at it.',
  }),
};
