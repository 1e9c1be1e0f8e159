import { z } from 'zod';
import { CHECKOUT_DESCRIPTIONS, CHECKOUT_EXAMPLES, checkoutData } from './checkout-data.ts';
import {
  alertData,
  changedData,
  createdData,
  disabledData,
  disputeHoldData,
  eventTime,
  expiredHoldsData,
  expiringCreditData,
  lapsedCreditData,
  reconciledData,
  skippedEntryData,
  skippedGrantsData,
  statusData,
} from './event-data.ts';
import type { EntryRange, OutgoingMessage } from './outgoing.ts';
import {
  blockedData,
  failedData,
  paidTwiceData,
  requestedData,
  resumedData,
  succeededData,
  suspendedData,
} from './top-up-data.ts';
import { TOP_UP_DESCRIPTIONS, TOP_UP_EXAMPLES } from './top-up-examples.ts';

/**
 * Every event that a merchant can be told of, with its schema. The schema goes to Svix with the event type and into the OpenAPI
 * document under `webhooks`, and the code that builds a payload takes its types from it. The envelope is that of Dodo Payments,
 * with our message id.
 */

function envelope<Type extends string, Data extends z.ZodType>(type: Type, data: Data) {
  return z.object({
    id: z.string().meta({ description: "The message's id, the same over all tries: drop what you have already seen." }),
    type: z.literal(type),
    business_id: z.string(),
    timestamp: eventTime.meta({ description: 'When it happened, not when it was sent.' }),
    data,
  });
}

const SCHEMAS = {
  'wallet.created': envelope('wallet.created', createdData),
  'wallet.balance.changed': envelope('wallet.balance.changed', changedData),
  'wallet.balance.low': envelope('wallet.balance.low', alertData),
  'wallet.balance.recovered': envelope('wallet.balance.recovered', alertData),
  'wallet.balance.depleted': envelope('wallet.balance.depleted', alertData),
  'wallet.hold.expired': envelope('wallet.hold.expired', expiredHoldsData),
  'wallet.hold.placed': envelope('wallet.hold.placed', disputeHoldData),
  'wallet.hold.lifted': envelope('wallet.hold.lifted', disputeHoldData),
  'wallet.credit.expiring': envelope('wallet.credit.expiring', expiringCreditData),
  'wallet.credit.expired': envelope('wallet.credit.expired', lapsedCreditData),
  'wallet.credit.voided': envelope('wallet.credit.voided', lapsedCreditData),
  'scheduled_entry.skipped': envelope('scheduled_entry.skipped', skippedEntryData),
  'grant.skipped': envelope('grant.skipped', skippedGrantsData),
  'wallet.status.changed': envelope('wallet.status.changed', statusData),
  'payment.reconciled': envelope('payment.reconciled', reconciledData),
  'topup.requested': envelope('topup.requested', requestedData),
  'topup.succeeded': envelope('topup.succeeded', succeededData),
  'topup.failed': envelope('topup.failed', failedData),
  'topup.paid_twice': envelope('topup.paid_twice', paidTwiceData),
  'topup.suspended': envelope('topup.suspended', suspendedData),
  'topup.resumed': envelope('topup.resumed', resumedData),
  'topup.blocked': envelope('topup.blocked', blockedData),
  'checkout.completed': envelope('checkout.completed', checkoutData),
  'checkout.short': envelope('checkout.short', checkoutData),
  'checkout.expired': envelope('checkout.expired', checkoutData),
  'checkout.refunded': envelope('checkout.refunded', checkoutData),
  'endpoint.disabled': envelope('endpoint.disabled', disabledData),
} as const;

export type OutgoingEventType = keyof typeof SCHEMAS;

/** What an event of a type carries under `data`. */
export type OutgoingData<Type extends OutgoingEventType> = z.infer<(typeof SCHEMAS)[Type]>['data'];

const DESCRIPTIONS: Readonly<Record<OutgoingEventType, string>> = {
  'wallet.created': 'A customer has a wallet in one more currency.',
  'wallet.balance.changed': 'One or more entries were written to a wallet.',
  'wallet.balance.low':
    'A balance is below its threshold, or was empty and has not recovered yet. Said once, until that changes; then as a reminder if those are on.',
  'wallet.balance.recovered': 'A balance that was said to be low or empty is back above its threshold, with a margin.',
  'wallet.balance.depleted':
    'A wallet that held credit holds none any more. Said once, until that changes; then as a reminder if those are on.',
  'wallet.hold.expired':
    'Holds ended that were neither captured whole nor released in time. What was left of them is available again.',
  'wallet.hold.placed':
    'A dispute of a payment is open, and what it may take is held, or more of it than before. Your own holds are not told of.',
  'wallet.hold.lifted': 'What was held for an open dispute is held no more, or less of it: `held` says what still is.',
  'wallet.credit.expiring':
    'Credit with an end will be gone in so many days unless it is spent. Said once for each notice, and again where the end was moved.',
  'wallet.credit.expired': 'Credit came to its end unspent, and is not in the balance any more.',
  'wallet.credit.voided': 'Credit was taken away again by the merchant.',
  'scheduled_entry.skipped':
    'A scheduled entry was due and could not be posted, such as a debit of more than was available. It will not be tried again.',
  'grant.skipped':
    'Periods of a grant schedule were due, and nothing was granted or charged for them: `reason` says why.',
  'wallet.status.changed':
    'A wallet was frozen, closed or made active again; or a payment came to a closed one, which is frozen now.',
  'payment.reconciled':
    'A payment, or a refund or dispute of it, whose webhook never arrived was found at the provider and is applied now.',
  ...TOP_UP_DESCRIPTIONS,
  ...CHECKOUT_DESCRIPTIONS,
  'endpoint.disabled':
    'Another endpoint of yours did nothing but fail for days and gets nothing any more. Mend it, enable it, and recover what it missed.',
};

const EXAMPLE_STATE = { customer_id: 'cus_01h2xcejqtf2nbrexx3vqjhp41', currency: 'USD', balance: 800, version: 7 };
const EXAMPLE_DISPUTE = {
  hold_id: 'hold_cus_01h2xcejqtf2nbrexx3vqjhp41_USD_4',
  payment_id: 'pi_3Qexample',
  dispute_id: 'du_1Qexample',
};
const EXAMPLE_LOT = 'lot_cus_01h2xcejqtf2nbrexx3vqjhp41_USD_2';
const EXAMPLE_TIME = '2026-01-31T12:00:00.000Z';

const EXAMPLES: { readonly [Type in OutgoingEventType]: OutgoingData<Type> } = {
  'wallet.created': { ...EXAMPLE_STATE, balance: 0, version: 0 },
  'wallet.balance.changed': {
    ...EXAMPLE_STATE,
    head: '2f0c3c1a0f6d5a5b4d3e8b7a6958473625140f1e2d3c4b5a69788796a5b4c3d2',
    previous_version: 6,
    entries: [
      {
        id: 'ent_cus_01h2xcejqtf2nbrexx3vqjhp41_USD_7',
        seq: 7,
        amount: 250,
        is_credit: false,
        event_type: 'merchant_adjustment',
        before_balance: 1050,
        after_balance: 800,
        reason: 'API usage in January',
        reference_object_id: null,
        metadata: null,
        created_at: EXAMPLE_TIME,
      },
    ],
  },
  'wallet.balance.low': { ...EXAMPLE_STATE, threshold: 1000, reminder: false },
  'wallet.balance.recovered': { ...EXAMPLE_STATE, balance: 5800, version: 8, threshold: 1000, reminder: false },
  'wallet.balance.depleted': { ...EXAMPLE_STATE, balance: 0, version: 9, threshold: 1000, reminder: false },
  'wallet.hold.expired': {
    ...EXAMPLE_STATE,
    available: 800,
    holds: [
      {
        hold_id: 'hold_cus_01h2xcejqtf2nbrexx3vqjhp41_USD_3',
        amount: 500,
        captured: 120,
        expired: 380,
        reference_object_id: 'job-42',
      },
    ],
  },
  'wallet.hold.placed': { ...EXAMPLE_STATE, ...EXAMPLE_DISPUTE, available: 300, wanted: 2000, held: 500 },
  'wallet.hold.lifted': { ...EXAMPLE_STATE, ...EXAMPLE_DISPUTE, available: 800, wanted: 0, held: 0 },
  'wallet.credit.expiring': {
    ...EXAMPLE_STATE,
    notice_days: 7,
    lots: [{ lot_id: EXAMPLE_LOT, kind: 'promo', remaining: 300, expires_at: '2026-02-07T12:00:00.000Z' }],
  },
  'wallet.credit.expired': { ...EXAMPLE_STATE, balance: 500, version: 8, lots: [{ lot_id: EXAMPLE_LOT, amount: 300 }] },
  'wallet.credit.voided': { ...EXAMPLE_STATE, balance: 500, version: 8, lots: [{ lot_id: EXAMPLE_LOT, amount: 300 }] },
  'scheduled_entry.skipped': {
    ...EXAMPLE_STATE,
    scheduled_entry_id: 'sen_01h2xcejqtf2nbrexx3vqjhp41',
    amount: 1250,
    is_credit: false,
    post_at: '2026-01-31T12:00:00.000Z',
    code: 'INSUFFICIENT_WALLET_FUNDS',
  },
  'grant.skipped': {
    ...EXAMPLE_STATE,
    schedule_id: 'monthly',
    amount: 500,
    from_period: 2,
    to_period: 3,
    first_due_at: '2025-10-30T23:00:00.000Z',
    last_due_at: '2025-11-29T23:00:00.000Z',
    reason: 'too_old',
  },
  'wallet.status.changed': {
    ...EXAMPLE_STATE,
    ...{
      status: 'frozen',
      previous_status: 'active',
      pause_expiry: false,
      actor: 'key:key_01h2xcejqtf2nbrexx3vqjhp41',
    },
  },
  'payment.reconciled': {
    payment_id: 'pi_3Qexample',
    source_id: 'src_stripe',
    provider: 'stripe',
    customer_id: EXAMPLE_STATE.customer_id,
    purpose: 'topup',
    currency: 'USD',
    amount_paid: 2000,
    credited: 2000,
    healed: [{ kind: 'payment', id: 'pi_3Qexample' }],
    reconciliation_id: 'rec_01h2xcejqtf2nbrexx3vqjhp41',
  },
  ...TOP_UP_EXAMPLES,
  ...CHECKOUT_EXAMPLES,
  'endpoint.disabled': {
    endpoint_id: 'ep_01h2xcejqtf2nbrexx3vqjhp41',
    description: 'Accounting',
    failing_since: '2026-01-26T11:58:00.000Z',
    disabled_at: EXAMPLE_TIME,
  },
};

/** One event type, described for people and machines. */
export interface OutgoingEvent {
  readonly type: OutgoingEventType;
  readonly description: string;
  readonly schema: z.ZodType;
  /** A whole payload, envelope included. */
  readonly example: Readonly<Record<string, unknown>>;
}

export const OUTGOING_EVENT_TYPES: readonly OutgoingEventType[] = Object.keys(SCHEMAS).filter(isOutgoingEventType);

export const OUTGOING_EVENTS: readonly OutgoingEvent[] = OUTGOING_EVENT_TYPES.map((type) => {
  const description = DESCRIPTIONS[type];
  const example = {
    id: 'whm_0123456789abcdefghjkmnpqrs',
    type,
    business_id: 'bus_default',
    timestamp: EXAMPLE_TIME,
    data: EXAMPLES[type],
  };
  return { type, description, schema: SCHEMAS[type].meta({ description, examples: [example] }), example };
});

/** Whether a text is a type of outgoing message. */
export function isOutgoingEventType(name: string): name is OutgoingEventType {
  return Object.hasOwn(SCHEMAS, name);
}

/** The JSON Schema of an event's payload: Svix reads draft 7, OpenAPI 3.1 reads 2020-12. */
export function payloadJsonSchema(event: OutgoingEvent, target: 'draft-7' | 'draft-2020-12'): Record<string, unknown> {
  return { ...z.toJSONSchema(event.schema, { target }) };
}

/** Puts `data` into the envelope. The same arguments always give the same bytes. */
export function outgoingMessage<Type extends OutgoingEventType>(
  type: Type,
  { merchantId, messageId, at }: { merchantId: string; messageId: string; at: Date },
  data: OutgoingData<Type>,
): OutgoingMessage {
  const payload = { id: messageId, type, business_id: merchantId, timestamp: at.toISOString(), data };
  return { merchantId, messageId, eventType: type, payload: JSON.stringify(payload), range: rangeOf(data) };
}

function rangeOf(data: OutgoingData<OutgoingEventType>): EntryRange | null {
  if (!('previous_version' in data)) return null;
  const { customer_id: customerId, currency, previous_version, version: lastSeq } = data;
  return { customerId, currency, firstSeq: previous_version + 1, lastSeq };
}

/** A message with example data, for a merchant who wants to test an endpoint. */
export function exampleMessage(
  type: OutgoingEventType,
  envelopeOf: { merchantId: string; messageId: string; at: Date },
): OutgoingMessage {
  // The entries of an example belong to no wallet.
  return { ...outgoingMessage(type, envelopeOf, EXAMPLES[type]), range: null };
}
