/** What the catalogue says of top-ups, and shows of them. */

export const TOP_UP_DESCRIPTIONS = {
  'topup.requested':
    'A wallet is below its threshold, and you charge its customer yourself: make the payment, with this metadata, or say that it failed.',
  'topup.succeeded': 'A top-up is paid, and its payment is credited.',
  'topup.failed': 'A top-up came to nothing. Every decline is told at once.',
  'topup.paid_twice':
    'A second payment names the same top-up. It is credited as any other; refund it if it was a mistake.',
  'topup.suspended':
    'Nothing is charged by the rule any more until the payment method changes, the customer pays by himself, or you resume it.',
  'topup.resumed': 'The rule charges again.',
  'topup.blocked':
    'A wallet is below its threshold, and its rule does not let it be charged. Said once a month, or a day.',
};

const EXAMPLE_RULE = { customer_id: 'cus_01h2xcejqtf2nbrexx3vqjhp41', currency: 'USD' };
const EXAMPLE_TOP_UP = {
  ...EXAMPLE_RULE,
  topup_id: 'top_01h2xcejqtf2nbrexx3vqjhp41',
  origin: 'threshold',
  amount: 2000,
  created_at: '2026-01-31T12:00:00.000Z',
} as const;

export const TOP_UP_EXAMPLES = {
  'topup.requested': {
    ...EXAMPLE_TOP_UP,
    metadata: {
      wallet_customer_id: EXAMPLE_RULE.customer_id,
      wallet_purpose: 'topup',
      wallet_topup_id: EXAMPLE_TOP_UP.topup_id,
    },
    expires_at: '2026-02-01T12:00:00.000Z',
  },
  'topup.succeeded': {
    ...EXAMPLE_TOP_UP,
    payment_id: 'pi_3Qexample',
    source_id: 'src_stripe',
    amount_paid: 2000,
    late: false,
  },
  'topup.failed': {
    ...EXAMPLE_TOP_UP,
    reason: 'declined',
    decline_code: 'insufficient_funds',
    hard: false,
    next_attempt_at: '2026-01-31T13:00:00.000Z',
  },
  'topup.paid_twice': { ...EXAMPLE_TOP_UP, payment_id: 'pi_3Qsecond', first_payment_id: 'pi_3Qexample' },
  'topup.suspended': {
    ...EXAMPLE_RULE,
    reason: 'declined',
    decline_code: 'authentication_required',
    since: EXAMPLE_TOP_UP.created_at,
  },
  'topup.resumed': { ...EXAMPLE_RULE, cause: 'payment_method' },
  'topup.blocked': { ...EXAMPLE_RULE, reason: 'monthly_cap', until: '2026-02-01T00:00:00.000Z' },
} as const;
