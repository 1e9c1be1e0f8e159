/** An invented shop: all examples of the API document use its customer, payment and endpoint. */

const ID = '01h2xcejqtf2nbrexx3vqjhp41';

export const EXAMPLE = {
  merchantId: 'bus_default',
  customerId: `cus_${ID}`,
  currency: 'USD',
  entryId: `ent_cus_${ID}_USD_7`,
  holdId: `hold_cus_${ID}_USD_3`,
  lotId: `lot_cus_${ID}_USD_2`,
  sourceId: `src_${ID}`,
  secretId: `sec_${ID}`,
  apiKeyId: `key_${ID}`,
  eventId: `evt_${ID}`,
  providerCustomerId: 'cus_NffrFeUfNV2Hib',
  paymentId: 'pi_3Q4xTcA1b2C3d4E5f6G7h8I9',
  walletToken: 'wt_0123456789abcdef0123456789abcdef',
  runId: `rec_${ID}`,
  endpointId: `ep_${ID}`,
  messageId: 'whm_0123456789abcdefghjkmnpqrs',
  attemptId: `atmpt_${ID}`,
  recoveryId: `rcv_${ID}`,
  /** A time before everything in the examples. */
  since: '2026-01-01T00:00:00.000Z',
  time: '2026-01-31T12:00:00.000Z',
  later: '2026-01-31T12:00:02.000Z',
  yearLater: '2027-01-31T12:00:00.000Z',
} as const;

/** A debit for a use of the shop's API. */
export const EXAMPLE_ENTRY = {
  entry_id: EXAMPLE.entryId,
  id: EXAMPLE.entryId,
  business_id: EXAMPLE.merchantId,
  customer_id: EXAMPLE.customerId,
  currency: EXAMPLE.currency,
  seq: 7,
  amount: 250,
  is_credit: false,
  event_type: 'merchant_adjustment',
  before_balance: 1050,
  after_balance: 800,
  reason: 'API usage in January',
  reference_object_id: 'invoice-2026-01',
  metadata: { calls: 12_500 },
  idempotency_key: 'usage-2026-01',
  created_at: EXAMPLE.time,
} as const;

/** The wallet after {@link EXAMPLE_ENTRY}. */
export const EXAMPLE_WALLET = {
  customer_id: EXAMPLE.customerId,
  currency: EXAMPLE.currency,
  balance: 800,
  held: 0,
  available: 800,
  head: '2f0c3c1a0f6d5a5b4d3e8b7a6958473625140f1e2d3c4b5a69788796a5b4c3d2',
  created_at: EXAMPLE.since,
  updated_at: EXAMPLE.time,
} as const;

/** Of 500 that were set aside for a job, 120 were captured and the rest released. */
export const EXAMPLE_HOLD = {
  hold_id: EXAMPLE.holdId,
  business_id: EXAMPLE.merchantId,
  customer_id: EXAMPLE.customerId,
  currency: EXAMPLE.currency,
  kind: 'api',
  status: 'captured',
  amount: 500,
  captured: 120,
  beyond: 0,
  released: 380,
  remaining: 0,
  reason: 'A long answer',
  release_reason: null,
  reference_object_id: 'job-42',
  metadata: null,
  idempotency_key: 'job-42',
  expires_at: '2026-01-31T12:15:00.000Z',
  created_at: EXAMPLE.time,
  closed_at: EXAMPLE.later,
} as const;

/** Of 500 that were given as a welcome, 200 were spent and the rest voided. */
export const EXAMPLE_LOT = {
  lot_id: EXAMPLE.lotId,
  business_id: EXAMPLE.merchantId,
  customer_id: EXAMPLE.customerId,
  currency: EXAMPLE.currency,
  kind: 'promo',
  name: 'Welcome',
  status: 'voided',
  amount: 500,
  remaining: 0,
  spent: 200,
  expired: 0,
  voided: 300,
  taken_back: 0,
  priority: 50,
  expires_at: '2026-03-01T00:00:00.000Z',
  origin: { entry_id: EXAMPLE.entryId },
  created_at: EXAMPLE.since,
  closed_at: EXAMPLE.later,
} as const;

/** Examples by the name of the parameter or field, for schemas without an example of their own. */
export const FIELD_EXAMPLES: Readonly<Record<string, unknown>> = {
  merchant_id: EXAMPLE.merchantId,
  customer_id: EXAMPLE.customerId,
  currency: EXAMPLE.currency,
  entry_id: EXAMPLE.entryId,
  hold_id: EXAMPLE.holdId,
  lot_id: EXAMPLE.lotId,
  source_id: EXAMPLE.sourceId,
  secret_id: EXAMPLE.secretId,
  key_id: EXAMPLE.apiKeyId,
  event_id: EXAMPLE.eventId,
  payment_id: EXAMPLE.paymentId,
  wallet_token: EXAMPLE.walletToken,
  run_id: EXAMPLE.runId,
  endpoint_id: EXAMPLE.endpointId,
  message_id: EXAMPLE.messageId,
  recovery_id: EXAMPLE.recoveryId,
  provider: 'stripe',
  cursor: EXAMPLE.attemptId,
  page_number: 0,
  before_seq: 7,
  after_seq: 0,
  before_no: 7,
  at: EXAMPLE.time,
  since: EXAMPLE.since,
  until: EXAMPLE.time,
  created_at_gte: EXAMPLE.since,
  created_at_lte: EXAMPLE.time,
  expires_before: EXAMPLE.yearLater,
  'Idempotency-Key': 'usage-2026-01',
};
