/** The groups that routes are shown in at `/docs`, in this order, and what each is about. */
export const TAGS = {
  Customers:
    "The people or firms whose money a merchant holds. The routes are Dodo Payments' own, so that its SDKs work with another base URL.",
  Wallets:
    'Balances by currency, and the ledger entries that make them. An entry never changes; a mistake is mended by another entry.',
  Holds:
    'Money that is set aside before work is done, and captured for what it came to. A hold lowers what is available, never the balance.',
  Lots: 'Credit with terms of its own: a kind, an end, a place in the order in which credit is spent.',
  Schedules: 'What is to be written to wallets at times to come.',
  'Top-ups':
    'Wallets that are filled up by themselves: when a balance falls below a threshold, a saved payment method is charged, or you are told to charge it.',
  Checkouts:
    'Purchases that the wallet pays first, and a provider the rest. What the wallet pays is held until the payment comes, and then taken.',
  Payments: 'What became of a payment at a provider: its refunds and disputes, and the entries that they caused.',
  'Provider events':
    'What payment providers tell Chokin, each event once. One that cannot be applied is parked with its reason, and applied again when you say so.',
  Reconciliation: 'Compares with the provider what its events said, and takes in what never arrived.',
  'Outgoing webhooks':
    "What Chokin tells you: signed messages on wallets, by the Standard Webhooks scheme. Here are the endpoints that get them, what was sent, and what is sent again. The messages themselves are under this document's `webhooks`.",
  Administration:
    'For the operator, who holds `ADMIN_KEY`: merchants, their API keys, and their accounts at payment providers.',
  Service: 'For load balancers and those on duty. No key is wanted.',
} as const satisfies Record<string, string>;

export type Tag = keyof typeof TAGS;
