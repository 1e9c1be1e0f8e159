import { z } from 'zod';
import { decimals, formatMinor, MAX_AMOUNT_MINOR } from '../money.ts';
import { UsageError } from './command.ts';

/** What may be written on the command line. Every message completes the sentence "<option>: …". */

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
const MAX_DAYS = 3650;
const MAX_LOT_DAYS = 3660;

const durationError = { error: `wants a time span such as 90s, 15m, 24h or 30d, ${MAX_DAYS}d at most` };

/** `30d` as seconds. */
export const duration = z
  .string(durationError)
  .regex(/^\d{1,9}[smhd]$/, durationError)
  .transform((text) => Number(text.slice(0, -1)) * SECONDS[text.slice(-1) as keyof typeof SECONDS])
  .refine((seconds) => seconds <= MAX_DAYS * SECONDS.d, durationError);

/** A moment, or a time span from now, as what takes the present time to tell which moment that is. */
export const expiry = momentFromNow(1, 'wants a time such as 2026-12-31T12:00:00Z, or a time span such as 30d');

/** The same, with the time span before now. */
export const past = momentFromNow(-1, 'wants a date such as 2026-11-01, a time, or a time span such as 3d');

function momentFromNow(sign: 1 | -1, error: string) {
  return z.union(
    [
      duration.transform((seconds) => (now: Date) => new Date(now.getTime() + sign * seconds * 1000)),
      z.iso.datetime({ offset: true }).transform((text) => () => new Date(text)),
      // A date alone ends as it begins, in UTC.
      z.iso.date().transform((text) => () => new Date(text)),
    ],
    { error },
  );
}

/** The end of a credit as a request names it: days are counted from when it is written, and stay the same if the command is repeated. */
export const lotEnd = z.union(
  [
    z
      .string()
      .regex(/^[1-9]\d{0,3}d$/)
      .transform((days) => ({ expires_in_days: Number(days.slice(0, -1)) }))
      .refine(({ expires_in_days: days }) => days <= MAX_LOT_DAYS),
    // A date alone is its beginning, in UTC.
    z.union([z.iso.datetime({ offset: true }), z.iso.date()]).transform((at) => ({ expires_at: new Date(at) })),
  ],
  { error: `wants a time such as 2026-12-31T12:00:00Z, or days such as 30d, ${MAX_LOT_DAYS}d at most` },
);

/** A whole number in digits. */
export function count(minimum: number, maximum: number) {
  const message = `wants a whole number from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, message)
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, message);
}

/** One of a closed list. */
export function oneOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, { error: `wants ${values.slice(0, -1).join(', ')} or ${values.at(-1)}` });
}

/** An id that Chokin made, such as `evt_…`. */
export const id = z.string().regex(/^[A-Za-z0-9_-]{1,200}$/, 'wants an id');

/** `12.50` USD as 1250, never by way of a float. @throws {UsageError} */
export function parseAmount(text: string, currency: string): number {
  const digits = decimals(currency);
  const example = digits === 0 ? '12' : `12.${'5'.padEnd(digits, '0')}`;
  const [, whole = '', fraction = ''] = /^(\d{1,100})(?:\.(\d+))?$/.exec(text) ?? [];
  if (whole === '') throw new UsageError(`amount: wants a positive decimal such as ${example}`);
  if (fraction.length > digits) throw new UsageError(`amount: ${currency} has ${digits} decimals, as in ${example}`);
  const amount = BigInt(`${whole}${fraction.padEnd(digits, '0')}`);
  if (amount <= 0n) throw new UsageError('amount: wants more than nothing');
  if (amount > BigInt(MAX_AMOUNT_MINOR)) {
    throw new UsageError(`amount: is too large; a wallet holds ${formatMinor(MAX_AMOUNT_MINOR, currency)} at most`);
  }
  return Number(amount);
}
