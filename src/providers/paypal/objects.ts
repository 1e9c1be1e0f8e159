import { z } from 'zod';
import { minorFromDecimal } from '../shared/currency.ts';
import { type EventReading, withAmount } from '../shared/event-reading.ts';
import { currencyCode, lenientIsoTime } from '../shared/fields.ts';

/** Schemas and helpers that PayPal's events share. */

export const plainId = z.string().regex(/^\w[\w-]{0,99}$/, 'wants an id of letters and digits');

/** An amount of either API. The older one has other field names, and a minus sign if money goes back. */
export const AMOUNT = z.union(
  [
    z.object({ value: z.string(), currency_code: currencyCode }),
    z
      .object({ total: z.string(), currency: currencyCode })
      .transform(({ total, currency }) => ({ value: total.replace(/^-/, ''), currency_code: currency })),
  ],
  'wants a decimal value and its currency',
);

export const event = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({ create_time: lenientIsoTime, resource: z.object(fields) });

export function withDecimal(
  path: string,
  { value, currency_code }: z.infer<typeof AMOUNT>,
  readingOf: (amountMinor: number) => EventReading,
): EventReading {
  return withAmount(path, minorFromDecimal('paypal', currency_code, value), readingOf);
}
