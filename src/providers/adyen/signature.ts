import { createHash } from 'node:crypto';
import { z } from 'zod';
import { checkSecrets, equalInConstantTime, hmacSha256, refused } from '../../crypto/signature.ts';
import { parseJson } from '../shared/json.ts';
import type { Delivery, Verification } from '../shared/provider.ts';

/** Adyen sends one item in JSON. More are read, but not more than this, which limits the work that a forged delivery causes. */
export const MAX_ITEMS = 50;

/** A signed field. Colons separate the fields, so only one of them may hold colons: then no text can move to another field. */
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
  eventDate: z.string().max(100).optional().catch(undefined),
  reason: z.string().max(500).nullish().catch(undefined),
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

/** Verifies that every item is signed. The secret that is reported is the oldest one that signed an item. */
export function verifyAdyen({ rawBody }: Delivery, secrets: readonly string[]): Verification {
  const json = parseJson(rawBody);
  const delivery = SIGNED_DELIVERY.safeParse(json.ok ? json.value : null);
  if (!delivery.success) return refused('the body has no signed notification items');
  let secretIndex = 0;
  for (const { NotificationRequestItem: item } of delivery.data.notificationItems) {
    const text = textToSign(item);
    const check = checkSecrets(secrets, (secret) => {
      if (!isAdyenHmacKey(secret)) return false;
      const expected = hmacSha256(Buffer.from(secret, 'hex'), [text], 'base64');
      return equalInConstantTime(item.additionalData.hmacSignature, expected);
    });
    if (!check.ok) return check;
    secretIndex = Math.max(secretIndex, check.secretIndex);
  }
  return { ok: true, secretIndex };
}

/** Events that may succeed again with the same signed fields. */
const MAY_RETURN: ReadonlySet<string> = new Set(['CAPTURE', 'REFUND']);

/**
 * The digest of the signed fields and of `live`. A repetition may have another date, and an item whose unsigned fields somebody
 * changed must not count as another delivery. Only for events that may succeed again the date and reason count too.
 */
export function adyenDeliveryKey({ rawBody }: Delivery): string {
  const json = parseJson(rawBody);
  const delivery = SIGNED_DELIVERY.safeParse(json.ok ? json.value : null);
  const digest = createHash('sha256');
  if (!delivery.success) return digest.update(rawBody).digest('hex');
  const items = delivery.data.notificationItems.map(({ NotificationRequestItem: item }) =>
    MAY_RETURN.has(item.eventCode) ? [textToSign(item), item.eventDate, item.reason] : textToSign(item),
  );
  return digest.update(JSON.stringify([delivery.data.live, ...items])).digest('hex');
}
