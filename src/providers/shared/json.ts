import { isUtf8 } from 'node:buffer';
import { isTooDeep, MAX_JSON_DEPTH } from './json-depth.ts';

/** The receiver's own limit; a longer body never gets here. */
const MAX_BODY_BYTES = 1_048_576;

export type JsonResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly detail: string };

/** Replaces a value while it is parsed; `source` is the text of a number before it was rounded. */
export type Reviver = (key: string, value: unknown, context?: { readonly source?: string }) => unknown;

/** Parses a provider's body within limits of size and depth. Never throws; the detail quotes nothing of the body. */
export function parseJson(rawBody: Buffer, reviver?: Reviver): JsonResult {
  if (rawBody.length > MAX_BODY_BYTES) return { ok: false, detail: `the body is longer than ${MAX_BODY_BYTES} bytes` };
  if (!isUtf8(rawBody)) return { ok: false, detail: 'the body is not UTF-8' };
  if (isTooDeep(rawBody)) return { ok: false, detail: `the body is nested more than ${MAX_JSON_DEPTH} levels deep` };
  try {
    return { ok: true, value: JSON.parse(rawBody.toString('utf8'), reviver) };
  } catch {
    // The parser's message quotes the body, which may hold personal data.
    return { ok: false, detail: 'the body is not JSON' };
  }
}
