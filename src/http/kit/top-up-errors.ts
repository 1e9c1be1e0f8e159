/** What refusals about top-ups mean. */
export const TOP_UP_ERRORS = {
  TOP_UP_RULE_NOT_FOUND: {
    cause: 'the wallet has no top-up rule, or no such wallet is there',
    cure: 'set one',
    sample: { message: 'The wallet has no top-up rule.' },
  },
  TOP_UP_NOT_FOUND: {
    cause: 'the wallet has no top-up of this id',
    cure: 'compare the id, the customer and the currency',
    sample: { message: 'The wallet has no such top-up.' },
  },
  TOP_UP_IN_FLIGHT: {
    cause: 'a top-up of this wallet is under way, and may still be paid',
    cure: 'wait for `topup.succeeded` or `topup.failed`',
    sample: { message: 'A top-up of this wallet is under way. Wait for what comes of it.' },
  },
  TOP_UP_NOT_OPEN: {
    cause: 'the top-up is not one that you were asked for, or has ended',
    cure: 'nothing: what became of it is known',
    sample: {
      message: 'Only a top-up that you were asked for can be said to have failed; this one is expired.',
    },
  },
  MONTHLY_CAP_REACHED: {
    cause:
      'a schedule is to charge more than the `monthly_cap` of the wallet’s top-up rule allows at all, or, where its first period is due at once, than is left of it this month',
    cure: 'charge less, raise `monthly_cap` as far as the customer agreed, or let the schedule begin next month (`anchor_at`)',
    sample: {
      message:
        'The top-up rule lets 6000 be charged in a month, in minor units, of which 4000 are used: 2500 is more than is left.',
      ...{ monthly_cap: 6000, used: 4000, required: 2500 },
    },
  },
  CONSENT_REQUIRED: {
    cause: 'a top-up rule is to be enabled, and nothing says that the customer agreed',
    cure: 'ask the customer, and send `consent`',
    sample: {
      message: 'consent: is wanted to enable the rule, since the customer is charged without being there.',
    },
  },
  CHARGING_NOT_CONFIGURED: {
    cause:
      'the source of a top-up has no charge key, or one of another account, is disabled, is not of Stripe or Dodo (a page: of Stripe), or would not credit the top-up',
    cure: 'give the source a charge key of its own account, or charge yourself (`payment: null`, no `session`)',
    sample: {
      message:
        'The source cannot charge for top-ups. It has to be an enabled source of Stripe or Dodo (a page to pay at: of Stripe) with a charge key of the same account, which sells top-ups or obeys all metadata.',
    },
  },
  PROVIDER_UNAVAILABLE: {
    cause:
      'the provider was asked for a page to pay at and made none, or its answer was lost; the checkout or top-up is open',
    cure: 'repeat the request under the same idempotency key: the same page is asked for, and the answer is 200 once it is there',
    sample: {
      message:
        'The provider made no page to pay at, or its answer was lost. What was opened stays open, and what is held for it stays held: repeat the request under the same idempotency key.',
    },
  },
};
