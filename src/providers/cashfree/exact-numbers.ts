/** The names of fields whose numbers are money, ids or the merchant's own: these must be read exactly as they were written. */
const EXACT = /_id$|_amount$|^wallet_/;

/** Keeps numbers as text, so that 170.10 is not a float and an id past 2^53 is not rounded. */
export function exactNumbers(key: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === 'number' && EXACT.test(key) ? plainDecimal(context?.source ?? '') : value;
}

/** A number without an exponent, since some programs write ten million as `1.0E7`; any other text as it is. */
function plainDecimal(source: string): string {
  const match = /^(\d{1,16})(?:\.(\d{1,16}))?[eE]\+?(\d{1,2})$/.exec(source);
  if (match === null) return source;
  const shift = Number(match[3]);
  const fraction = (match[2] ?? '').padEnd(shift, '0');
  const rest = fraction.slice(shift).replace(/0+$/, '');
  return `${match[1]}${fraction.slice(0, shift)}${rest === '' ? '' : `.${rest}`}`;
}
