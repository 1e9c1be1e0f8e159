import { createHash } from 'node:crypto';
import { z } from 'zod';
import { checkSecrets, equalInConstantTime, hmacSha256, refused } from '../../crypto/signature.ts';
import type { DisputeFact, Fact, PaymentFact, RefundFact } from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import { decidedAfter } from '../shared/dispute-rounds.ts';
import { currencyCode, lenientIsoTime, minorAmount, NO_CUSTOMER } from '../shared/fields.ts';
import { parseJson } from '../shared/json.ts';
import { ignore, type Outcome, park, reader, tell } from '../shared/outcome.ts';
import type { Delivery, Interpretation, Provider, Verification } from '../shared/provider.ts';
import { walletText } from '../shared/wallet-text.ts';

/*
 * Adyen's standard webhooks. A delivery holds items, each signed by itself over eight of its fields. This adapter is for
 * accounts that capture by themselves, as Adyen's do unless told otherwise: there an authorisation is the money.
 *
 * | eventCode                           | fact                                                                            |
 * |-------------------------------------|---------------------------------------------------------------------------------|
 * | AUTHORISATION                       | payment succeeded, of `amount`, or failed, by `success`                         |
 * | CAPTURE, if `success`               | payment succeeded: the same payment as its AUTHORISATION, so nothing is added   |
 * | PENDING                             | payment pending                                                                 |
 * | REFUND, by `success`                | refund succeeded or failed. Succeeded is what Adyen sent on; the bank may still |
 * |                                     | refuse                                                                          |
 * | REFUND_FAILED, REFUNDED_REVERSED    | refund failed, by the same `pspReference` as its REFUND                         |
 * | CANCEL_OR_REFUND, if `success`      | refund succeeded if `modification.action` says refund, parked if it does not    |
 * | NOTIFICATION_OF_CHARGEBACK          | dispute open                                                                    |
 * | CHARGEBACK                          | dispute lost                                                                    |
 * | CHARGEBACK_REVERSED                 | dispute won                                                                     |
 * | SECOND_CHARGEBACK,                  | second round lost, first round withdrawn                                        |
 * | PREARBITRATION_LOST                 |                                                                                 |
 * | PREARBITRATION_WON                  | both rounds won                                                                 |
 * | CAPTURE if not `success`,           | parked: the money that was credited never came, and nothing among the facts     |
 * | CAPTURE_FAILED, CANCELLATION,       | says that of a payment                                                          |
 * | TECHNICAL_CANCEL, EXPIRE            |                                                                                 |
 * | REQUEST_FOR_INFORMATION and others  | ignored: no money moves                                                         |
 *
 * `success` and `live` are texts. `pspReference` names what happened, `originalReference` the payment it happened to;
 * for disputes it comes only with "Include the originalReference for CHARGEBACK_REVERSED events" switched on.
 *
 * Signed are pspReference, originalReference, merchantAccountCode, merchantReference, amount, eventCode and success. All
 * else could be changed by whoever gets hold of an item: `metadata.*`, `shopperReference` and the shopper's e-mail are not
 * signed and so do not say whose wallet it is. `merchantReference` does (see wallet-text.ts). Of the rest only `live` is
 * read, which can but park an item, and `modification.action`, as nothing signed tells a refund from a cancellation.
 */

/** Adyen sends one item by JSON; more are read, up to a number that bounds the work of a forged delivery. */
const MAX_ITEMS = 50;

/** What is signed. A colon parts the fields, so it is allowed in one of them only: then no field can reach into another. */
const signedText = z
  .string()
  .max(500)
  .regex(/^[^:]*$/);
const SIGNED = z.object({
  pspReference: signedText,
  originalReference: signedText.nullish(),
  merchantAccountCode: signedText,
  merchantReference: z.string().max(500).nullish(),
  amount: z.object({ value: z.number().nullish(), currency: signedText.nullish() }).nullish(),
  eventCode: signedText,
  success: signedText,
  additionalData: z.object({ hmacSignature: z.string() }),
});
const SIGNED_DELIVERY = z.object({
  live: z.string().max(10).optional(),
  notificationItems: z
    .array(z.object({ NotificationRequestItem: SIGNED }))
    .min(1)
    .max(MAX_ITEMS),
});

function textToSign(item: z.infer<typeof SIGNED>): string {
  const { pspReference, originalReference, merchantAccountCode, merchantReference, amount, eventCode, success } = item;
  const parts = [pspReference, originalReference, merchantAccountCode, merchantReference];
  return [...parts, amount?.value, amount?.currency, eventCode, success].map((part) => part ?? '').join(':');
}

/** Whether a secret is a key as Adyen's Customer Area shows it. Any other would decode to a short key, or to none. */
export function isAdyenHmacKey(secret: string): boolean {
  return /^([0-9a-f]{2}){16,64}$/i.test(secret);
}

/** Every item must be signed; the oldest secret among them is the one told. */
function verify({ rawBody }: Delivery, secrets: readonly string[]): Verification {
  const json = parseJson(rawBody);
  const delivery = SIGNED_DELIVERY.safeParse(json.ok ? json.value : null);
  if (!delivery.success) return refused('the body has no signed notification items');
  let secretIndex = 0;
  for (const { NotificationRequestItem: item } of delivery.data.notificationItems) {
    const text = textToSign(item);
    const check = checkSecrets(secrets, (secret) => {
      if (!isAdyenHmacKey(secret)) return false;
      const expected = hmacSha256(Buffer.from(secret, 'hex'), '', text, 'base64');
      return equalInConstantTime(item.additionalData.hmacSignature, expected);
    });
    if (!check.ok) return check;
    secretIndex = Math.max(secretIndex, check.secretIndex);
  }
  return { ok: true, secretIndex };
}

/**
 * The digest of what is signed, and of `live`: a repetition may carry another date, and an item that somebody changed
 * where it is not signed is no other delivery.
 */
function deliveryKey({ rawBody }: Delivery): string {
  const json = parseJson(rawBody);
  const delivery = SIGNED_DELIVERY.safeParse(json.ok ? json.value : null);
  const digest = createHash('sha256');
  if (!delivery.success) return digest.update(rawBody).digest('hex');
  const items = delivery.data.notificationItems.map(({ NotificationRequestItem: item }) => textToSign(item));
  return digest.update(JSON.stringify([delivery.data.live, ...items])).digest('hex');
}

const reference = z.string().regex(/^\w[\w-]{0,99}$/, 'wants a PSP reference');
const success = z.enum(['true', 'false']).transform((text) => text === 'true');

const ITEM = z.object({
  pspReference: reference,
  merchantReference: walletText,
  amount: z.object({ value: minorAmount, currency: currencyCode }),
  success,
  eventDate: lenientIsoTime,
  additionalData: z.object({ 'modification.action': z.string().optional().catch(undefined) }).nullish(),
});
const MODIFICATION = ITEM.extend({
  originalReference: z
    .string('is missing: switch on that the originalReference is included, then resend')
    .regex(/^\w[\w-]{0,99}$/, 'wants a PSP reference'),
});
type Item = z.infer<typeof ITEM>;
type Modification = z.infer<typeof MODIFICATION>;

function withAmount(item: Item, outcomeOf: (amountMinor: number) => Outcome): Outcome {
  const amountMinor = minorFromInteger('adyen', item.amount.currency, item.amount.value);
  return typeof amountMinor === 'number'
    ? outcomeOf(amountMinor)
    : park(amountMinor.reason, `amount: ${amountMinor.detail}`);
}

function paymentFact(item: Item, paymentId: string, state: PaymentFact['state'], amountMinor: number | null): Fact {
  const { merchantReference: metadata, eventDate: occurredAt } = item;
  const { currency } = item.amount;
  return { kind: 'payment', paymentId, state, amountMinor, currency, customer: NO_CUSTOMER, metadata, occurredAt };
}

const paid = (item: Item, paymentId: string) =>
  withAmount(item, (amountMinor) => tell(paymentFact(item, paymentId, 'succeeded', amountMinor)));

const refund = (item: Modification, state: RefundFact['state']) =>
  withAmount(item, (amountMinor) => {
    const { originalReference: paymentId, pspReference: refundId, merchantReference: metadata } = item;
    const { currency } = item.amount;
    const occurredAt = item.eventDate;
    const customer = NO_CUSTOMER;
    return tell({ kind: 'refund', paymentId, refundId, state, amountMinor, currency, customer, metadata, occurredAt });
  });

/** All that happens in a dispute has one pspReference. */
const dispute = (state: DisputeFact['state'], round: 'first' | 'second') =>
  reader(MODIFICATION, (item) =>
    withAmount(item, (amountMinor) => {
      if (!item.success) return park('malformed', 'success: is false for a dispute, which is not documented');
      const { originalReference: paymentId, pspReference } = item;
      const { currency } = item.amount;
      const [earlierIds, disputeId] =
        round === 'first' ? [[], pspReference] : [[pspReference], `${pspReference}_second`];
      const fact: DisputeFact = {
        kind: 'dispute',
        paymentId,
        disputeId,
        state,
        amountMinor,
        currency,
        occurredAt: item.eventDate,
      };
      return tell(...decidedAfter(earlierIds, fact));
    }),
  );

const UNDONE = park(
  'manual_correction',
  'what was authorised is not captured: if the wallet was credited, take it back by hand',
);
const undone = reader(MODIFICATION, () => UNDONE);
const undoneIfDone = reader(MODIFICATION, (item) => (item.success ? UNDONE : ignore('the request was refused')));

const READERS: ReadonlyMap<string, (item: unknown) => Outcome> = new Map([
  [
    'AUTHORISATION',
    reader(ITEM, (item) =>
      item.success ? paid(item, item.pspReference) : tell(paymentFact(item, item.pspReference, 'failed', null)),
    ),
  ],
  ['PENDING', reader(ITEM, (item) => tell(paymentFact(item, item.pspReference, 'pending', null)))],
  ['CAPTURE', reader(MODIFICATION, (item) => (item.success ? paid(item, item.originalReference) : UNDONE))],
  ['CAPTURE_FAILED', undone],
  ['EXPIRE', undoneIfDone],
  ['CANCELLATION', undoneIfDone],
  ['TECHNICAL_CANCEL', undoneIfDone],
  ['REFUND', reader(MODIFICATION, (item) => refund(item, item.success ? 'succeeded' : 'failed'))],
  ['REFUND_FAILED', reader(MODIFICATION, (item) => refund(item, 'failed'))],
  ['REFUNDED_REVERSED', reader(MODIFICATION, (item) => refund(item, 'failed'))],
  [
    'CANCEL_OR_REFUND',
    reader(MODIFICATION, (item) => {
      if (!item.success) return ignore('the request was refused');
      return item.additionalData?.['modification.action'] === 'refund' ? refund(item, 'succeeded') : UNDONE;
    }),
  ],
  ['NOTIFICATION_OF_CHARGEBACK', dispute('open', 'first')],
  ['CHARGEBACK', dispute('lost', 'first')],
  ['CHARGEBACK_REVERSED', dispute('won', 'first')],
  ['SECOND_CHARGEBACK', dispute('lost', 'second')],
  ['PREARBITRATION_LOST', dispute('lost', 'second')],
  ['PREARBITRATION_WON', dispute('won', 'second')],
]);

const ENVELOPE = z.object({
  live: success,
  notificationItems: z
    .array(z.object({ NotificationRequestItem: z.looseObject({ eventCode: z.string().regex(/^\w{1,100}$/) }) }))
    .min(1)
    .max(MAX_ITEMS),
});

/** What all items say together. One that cannot be applied holds the others back, as the items of a delivery belong together. */
function together(outcomes: readonly Outcome[]): Outcome {
  const parked = outcomes.find((outcome) => outcome.kind === 'parked');
  if (parked !== undefined) return parked;
  const facts = outcomes.flatMap((outcome) => (outcome.kind === 'facts' ? outcome.facts : []));
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
  const outcomes = items.map(
    (item) => READERS.get(item.eventCode)?.(item) ?? ignore('not an event that Chokin reads money from'),
  );
  return { eventType, ...together(outcomes), livemode };
}

export const adyen: Provider = { name: 'adyen', verify, deliveryKey, interpret };
