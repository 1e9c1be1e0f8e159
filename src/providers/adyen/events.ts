import { z } from 'zod';
import {
  type DisputeFact,
  type MovementFact,
  type PaymentFact,
  type RefundFact,
  STAGES,
  type Stage,
} from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import {
  type EventReading,
  ignore,
  type JsonObject,
  namedPayment,
  namingPayments,
  park,
  reader,
  tell,
  withAmount as withMinorAmount,
} from '../shared/event-reading.ts';
import { currencyCode, lenientIsoTime, minorAmount, NO_CUSTOMER } from '../shared/fields.ts';
import { parseJson } from '../shared/json.ts';
import type { Interpretation, NamedPayment, Provider } from '../shared/provider.ts';
import { walletText } from '../shared/wallet-text.ts';
import { adyenDeliveryKey, MAX_ITEMS, verifyAdyen } from './signature.ts';

/*
 * Adyen's standard webhooks. A delivery holds items, each signed by itself over eight of its fields.
 *
 * | eventCode                           | fact                                                                            |
 * |-------------------------------------|---------------------------------------------------------------------------------|
 * | AUTHORISATION                       | payment authorised, of `amount`, or failed, by `success`. It is the money where |
 * |                                     | the account captures by itself, as Adyen's do unless told otherwise             |
 * | AUTHORISATION_ADJUSTMENT            | the total that is authorised from now on, if `success`                          |
 * | CAPTURE, CAPTURE_FAILED             | a capture, or that it failed after all. One that is refused (`success` false)   |
 * |                                     | was a request and changes nothing                                               |
 * | CANCELLATION, TECHNICAL_CANCEL,     | nothing more will be captured, if `success`                                     |
 * | EXPIRE                              |                                                                                 |
 * | PENDING                             | payment pending                                                                 |
 * | REFUND, by `success`                | refund succeeded or failed. Succeeded is what Adyen sent on; the bank may still |
 * |                                     | refuse                                                                          |
 * | REFUND_FAILED, REFUNDED_REVERSED    | refund failed: that of the `pspReference`, else that of the `originalReference` |
 * | CANCEL_OR_REFUND, if `success`      | refund succeeded if `modification.action` says refund, else an end              |
 * | ORDER_CLOSED, if not `success`      | parked: which of its payments are given back, later refunds say                 |
 * | NOTIFICATION_OF_CHARGEBACK,         | dispute open                                                                    |
 * | DISPUTE_OPENED_WITH_CHARGEBACK      |                                                                                 |
 * | CHARGEBACK                          | dispute lost; later rounds take no more than this, whatever fees they name      |
 * | CHARGEBACK_REVERSED                 | dispute won, at the stage of the chargeback                                     |
 * | SECOND_CHARGEBACK,                  | dispute lost, at the stage of pre-arbitration                                   |
 * | PREARBITRATION_LOST                 |                                                                                 |
 * | PREARBITRATION_WON,                 | dispute won, at that stage                                                      |
 * | PREARBITRATION_ISSUER_WITHDRAWN,    |                                                                                 |
 * | ISSUER_RESPONSE_TIMEFRAME_EXPIRED   |                                                                                 |
 * | SCHEME_ARBITRATION_WON, _LOST       | dispute won or lost, at the last stage                                          |
 * | REQUEST_FOR_INFORMATION and others  | ignored: no money moves                                                         |
 *
 * A CAPTURE or REFUND may come again under its reference after it failed, with a `reason` that says so (docs.adyen.com,
 * capture failure reasons, "Transaction Recaptured").
 *
 * `success` and `live` are texts. `pspReference` names what happened, `originalReference` the payment it happened to;
 * for disputes it comes only with "Include the originalReference for CHARGEBACK_REVERSED events" switched on.
 *
 * Signed are pspReference, originalReference, merchantAccountCode, merchantReference, amount, eventCode and success. Anybody
 * who gets an item could change all other fields: `metadata.*`, `shopperReference` and the shopper's e-mail are not signed, so
 * they do not decide whose wallet it is. `merchantReference` does (see wallet-text.ts). Of the unsigned fields these are read:
 * `live`, which can only park an item; `modification.action`, since no signed field tells a refund from a cancellation; and the
 * date and reason: who changes them can at worst repeat what Adyen signed once.
 */

const reference = z.string().regex(/^\w[\w-]{0,99}$/, 'wants a PSP reference');
const success = z.enum(['true', 'false']).transform((text) => text === 'true');

const ITEM = z.object({
  pspReference: reference,
  merchantReference: walletText,
  amount: z.object({ value: minorAmount, currency: currencyCode }),
  success,
  eventDate: lenientIsoTime,
  reason: z.string().max(500).nullish().catch(null),
  additionalData: z.object({ 'modification.action': z.string().optional().catch(undefined) }).nullish(),
});
const MODIFICATION = ITEM.extend({
  originalReference: z
    .string('is missing: switch on that the originalReference is included, then resend')
    .regex(/^\w[\w-]{0,99}$/, 'wants a PSP reference'),
});
type Item = z.infer<typeof ITEM>;
type Modification = z.infer<typeof MODIFICATION>;

function withAmount(item: Item, readingOf: (amountMinor: number) => EventReading): EventReading {
  return withMinorAmount('amount', minorFromInteger('adyen', item.amount.currency, item.amount.value), readingOf);
}

function paymentFact(item: Item, state: PaymentFact['state'], amountMinor: number | null): PaymentFact {
  const { pspReference: paymentId, merchantReference: metadata, eventDate: occurredAt } = item;
  const { currency } = item.amount;
  return { kind: 'payment', paymentId, state, amountMinor, currency, customer: NO_CUSTOMER, metadata, occurredAt };
}

const authorised = (item: Item) =>
  withAmount(item, (amountMinor) => tell({ ...paymentFact(item, 'succeeded', amountMinor), isAuthorisation: true }));

const reasonOf = ({ reason }: Item): string | null => (reason ? reason : null);

const refund = (item: Modification, state: RefundFact['state'], mayNameRefund?: true) =>
  withAmount(item, (amountMinor) => {
    const { originalReference: paymentId, pspReference: refundId, merchantReference: metadata } = item;
    return tell({
      kind: 'refund',
      paymentId,
      refundId,
      state,
      amountMinor,
      currency: item.amount.currency,
      customer: NO_CUSTOMER,
      metadata,
      occurredAt: item.eventDate,
      reason: reasonOf(item),
      ...(mayNameRefund ? { mayNameRefund } : {}),
    });
  });

const movement =
  (kind: MovementFact['movement'], state: MovementFact['state']) =>
  (item: Modification): EventReading =>
    withAmount(item, (amountMinor) =>
      tell({
        kind: 'movement',
        movement: kind,
        paymentId: item.originalReference,
        movementId: item.pspReference,
        state,
        amountMinor,
        currency: item.amount.currency,
        occurredAt: item.eventDate,
        reason: reasonOf(item),
      }),
    );

const REFUSED = ignore('the request was refused');
const ifDone = (readingOf: (item: Modification) => EventReading) =>
  reader(MODIFICATION, (item) => (item.success ? readingOf(item) : REFUSED));
const ended = movement('end', 'succeeded');

/** All items of a dispute have the same pspReference, which is its id. */
const dispute = (state: DisputeFact['state'], stage: Stage, isCap?: true) =>
  reader(MODIFICATION, (item) =>
    withAmount(item, (amountMinor) => {
      if (!item.success) return park('malformed', 'success: is false for a dispute, which is not documented');
      const { originalReference: paymentId, pspReference: disputeId, eventDate: occurredAt } = item;
      const { currency } = item.amount;
      const cap = isCap ? { isCap } : {};
      return tell({ kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt, stage, ...cap });
    }),
  );

const ORDER = z.object({ success, additionalData: z.record(z.string(), z.unknown()).nullish() });

/** An order of several payments. Its list of payments is not signed, so it moves no money; it is parked for a person to read. */
const readOrder = reader(ORDER, ({ success: isCompleted, additionalData }) => {
  if (isCompleted) return ignore('an order that was paid, by payments of their own');
  const listed = Object.entries(additionalData ?? {})
    .filter(
      ([name, value]) =>
        /^order-\d+-pspReference$/.test(name) && typeof value === 'string' && /^\w{1,100}$/.test(value),
    )
    .map(([, value]) => String(value));
  const list = listed.length === 0 ? 'it names none' : listed.join(', ').slice(0, 300);
  const detail = `its payments, of which those that were paid are given back by refunds: ${list}`;
  const [paymentId] = listed;
  return park('order_not_completed', detail, paymentId === undefined ? {} : { names: { paymentId, of: 'movement' } });
});

const { chargeback, preArbitration, arbitration } = STAGES;

const READERS: ReadonlyMap<string, (item: unknown) => EventReading> = new Map([
  [
    'AUTHORISATION',
    reader(ITEM, (item) => (item.success ? authorised(item) : tell(paymentFact(item, 'failed', null)))),
  ],
  ['PENDING', reader(ITEM, (item) => tell(paymentFact(item, 'pending', null)))],
  ['AUTHORISATION_ADJUSTMENT', ifDone(movement('adjustment', 'succeeded'))],
  ['CAPTURE', ifDone(movement('capture', 'succeeded'))],
  ['CAPTURE_FAILED', ifDone(movement('capture', 'failed'))],
  ['EXPIRE', ifDone(ended)],
  ['CANCELLATION', ifDone(ended)],
  ['TECHNICAL_CANCEL', ifDone(ended)],
  ['REFUND', reader(MODIFICATION, (item) => refund(item, item.success ? 'succeeded' : 'failed'))],
  ['REFUND_FAILED', reader(MODIFICATION, (item) => refund(item, 'failed', true))],
  ['REFUNDED_REVERSED', reader(MODIFICATION, (item) => refund(item, 'failed', true))],
  [
    'CANCEL_OR_REFUND',
    ifDone((item) =>
      item.additionalData?.['modification.action'] === 'refund' ? refund(item, 'succeeded') : ended(item),
    ),
  ],
  ['ORDER_CLOSED', readOrder],
  ['NOTIFICATION_OF_CHARGEBACK', dispute('open', chargeback)],
  ['DISPUTE_OPENED_WITH_CHARGEBACK', dispute('open', chargeback)],
  ['CHARGEBACK', dispute('lost', chargeback, true)],
  ['CHARGEBACK_REVERSED', dispute('won', chargeback)],
  ['SECOND_CHARGEBACK', dispute('lost', preArbitration)],
  ['PREARBITRATION_LOST', dispute('lost', preArbitration)],
  ['PREARBITRATION_WON', dispute('won', preArbitration)],
  ['PREARBITRATION_ISSUER_WITHDRAWN', dispute('won', preArbitration)],
  ['ISSUER_RESPONSE_TIMEFRAME_EXPIRED', dispute('won', preArbitration)],
  ['SCHEME_ARBITRATION_LOST', dispute('lost', arbitration)],
  ['SCHEME_ARBITRATION_WON', dispute('won', arbitration)],
]);

/** Which payment a parked item names. */
const namedIn = (eventCode: string, item: JsonObject): NamedPayment | null =>
  eventCode === 'AUTHORISATION' || eventCode === 'PENDING'
    ? namedPayment(item, 'payment', 'pspReference')
    : namedPayment(item, 'movement', 'originalReference');

const readItem = namingPayments(
  namedIn,
  (eventCode, item) => READERS.get(eventCode)?.(item) ?? ignore('not an event that Chokin reads money from'),
);

const ENVELOPE = z.object({
  live: success,
  notificationItems: z
    .array(z.object({ NotificationRequestItem: z.looseObject({ eventCode: z.string().regex(/^\w{1,100}$/) }) }))
    .min(1)
    .max(MAX_ITEMS),
});

/** The reading of all items together. The items of a delivery belong together, so one that cannot be applied parks all. */
function together(outcomes: readonly EventReading[]): EventReading {
  const facts = outcomes.flatMap((outcome) => (outcome.kind === 'ignored' ? [] : (outcome.facts ?? [])));
  const parked = outcomes.find((outcome) => outcome.kind === 'parked');
  if (parked !== undefined) return facts.length === 0 ? parked : { ...parked, facts };
  return facts.length > 0 ? tell(...facts) : (outcomes[0] ?? ignore('no items'));
}

function interpret(rawBody: Buffer): Interpretation {
  const json = parseJson(rawBody);
  if (!json.ok) return { eventType: 'unknown', ...park('malformed', json.detail) };
  const envelope = ENVELOPE.safeParse(json.value);
  if (!envelope.success) {
    const path = envelope.error.issues[0]?.path.join('.') ?? '';
    return { eventType: 'unknown', ...park('malformed', `${path.slice(0, 200) || 'the body'}: is not as documented`) };
  }
  const { live: livemode, notificationItems } = envelope.data;
  const items = notificationItems.map(({ NotificationRequestItem: item }) => item);
  const eventType = [...new Set(items.map((item) => item.eventCode))].join(' ').slice(0, 200);
  const outcomes = items.map((item) => readItem(item.eventCode, item));
  return { eventType, ...together(outcomes), livemode };
}

export const adyen: Provider = {
  name: 'adyen',
  // The signatures are in the body.
  headersProblem: () => null,
  verify: verifyAdyen,
  deliveryKey: adyenDeliveryKey,
  interpret,
};
