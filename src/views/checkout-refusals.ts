import type { Refusal } from '../errors.ts';

/** The words of refusals about checkouts. */
export const CHECKOUT_WORDS = {
  BELOW_GATEWAY_MINIMUM: (facts: Refusal<'BELOW_GATEWAY_MINIMUM'>) => {
    const { code, minimum, total, available, withCreditPurchase } = facts;
    const selling = withCreditPurchase === null ? '' : ' Allow credit to be bought with it (allow_credit_purchase).';
    return {
      code,
      message: `The wallet cannot pay all of it, and a provider charges ${minimum} minor units at least, which is more than the whole.${selling}`,
      details: { minimum, total, available, with_credit_purchase: withCreditPurchase },
    };
  },
  CHECKOUT_NOT_FOUND: ({ code }: Refusal<'CHECKOUT_NOT_FOUND'>) => ({
    code,
    message: 'The customer has no such checkout.',
  }),
  CHECKOUT_NOT_OPEN: ({ code, state }: Refusal<'CHECKOUT_NOT_OPEN'>) => ({
    code,
    message: `This cannot be done with the checkout any more: it is ${state}.`,
  }),
  REFUND_EXCEEDS_PAID: ({ code, refundable }: Refusal<'REFUND_EXCEEDS_PAID'>) => ({
    code,
    message: `No more than ${refundable} minor units of the purchase can be returned to the wallet.`,
    details: { refundable },
  }),
  REFUNDS_ARE_PROPORTIONAL: ({ code }: Refusal<'REFUNDS_ARE_PROPORTIONAL'>) => ({
    code,
    message:
      'Refunds of this checkout are proportional: refund its payment at the provider, and the wallet gets its share back by itself.',
  }),
  CHECKOUTS_NOT_YET: ({ code }: Refusal<'CHECKOUTS_NOT_YET'>) => ({
    code,
    message:
      'No checkout is opened while a process of the release before may still run, since that would take its payment for another.',
  }),
  PROVIDER_UNAVAILABLE: ({ code }: Refusal<'PROVIDER_UNAVAILABLE'>) => ({
    code,
    message:
      'The provider made no page to pay at, or its answer was lost. What was opened stays open, and what is held for it stays held: repeat the request under the same idempotency key.',
  }),
};
