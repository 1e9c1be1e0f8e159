/** What refusals about checkouts mean. */
export const CHECKOUT_ERRORS = {
  BELOW_GATEWAY_MINIMUM: {
    cause: 'the wallet cannot pay all of a purchase, and the whole of it is less than the provider charges',
    cure: 'allow credit to be bought with it (`allow_credit_purchase`), or have the customer top up first',
    sample: {
      message:
        'The wallet cannot pay all of it, and a provider charges 50 minor units at least, which is more than the whole. Allow credit to be bought with it (allow_credit_purchase).',
      ...{ minimum: 50, total: 40, available: 10, with_credit_purchase: 50 },
    },
  },
  CHECKOUT_NOT_FOUND: {
    cause: 'the customer has no checkout of this id',
    cure: 'compare the id and the customer',
    sample: { message: 'The customer has no such checkout.' },
  },
  CHECKOUT_NOT_OPEN: {
    cause: 'the checkout is paid, has expired or was cancelled, or nothing is left to collect of it',
    cure: 'nothing: the body has the `checkout` as it stands',
    sample: { message: 'This cannot be done with the checkout any more: it is completed.' },
  },
  REFUND_EXCEEDS_PAID: {
    cause: 'more was to be returned to the wallet than the purchase had cost, less what went back of it already',
    cure: 'return `refundable` at most',
    sample: {
      message: 'No more than 1500 minor units of the purchase can be returned to the wallet.',
      refundable: 1500,
    },
  },
  REFUNDS_ARE_PROPORTIONAL: {
    cause:
      'a part of the purchase was to be paid at a provider, and its refunds return the wallet’s part by themselves',
    cure: 'refund the payment at the provider; open checkouts with `wallet_refunds: manual` to decide yourself',
    sample: {
      message:
        'Refunds of this checkout are proportional: refund its payment at the provider, and the wallet gets its share back by itself.',
    },
  },
  CHECKOUTS_NOT_YET: {
    cause:
      'the service was upgraded from a release without checkouts, and it was not said yet that the last process of that one has ended',
    cure: 'the operator runs `npm run migrate -- --close-release`; without it, checkouts are opened from a week after the migration',
    sample: {
      message:
        'No checkout is opened while a process of the release before may still run, since that would take its payment for another.',
    },
  },
};
