import { isUtf8 } from 'node:buffer';
import { isTooDeep, MAX_JSON_DEPTH } from './json-depth.ts';

/** The receiver's own limit; a longer body never gets here. */
const MAX_BODY_BYTES = 1_048_576;

export type JsonResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly detail: string };

/** Replaces a value while it is parsed; `source` is the text of a number before it was rounded. */
export type Reviver = (key: string, value: unknown, context?: { readonly source?: string }) => unknown;

/** The body that was parsed in this turn of the event loop, since what is read of a body is read in one: its event, its key and its accounts. */
let latest: { readonly rawBody: Buffer; readonly result: JsonResult } | null = null;

/**
 * Parses a provider's body within limits of size and depth. Never throws; the detail quotes nothing of the body. Without a reviver, the
 * same result may be given to several callers, none of whom may change it.
 */
export function parseJson(rawBody: Buffer, reviver?: Reviver): JsonResult {
  if (reviver !== undefined) return parse(rawBody, reviver);
  if (latest?.rawBody === rawBody) return latest.result;
  const result = parse(rawBody);
  // Bodies wait in the inbox's queue; what was made of them is several times as large, and must not wait with them.
  if (latest === null) queueMicrotask(() => (latest = null));
  latest = { rawBody, result };
  return result;
}

function parse(rawBody: Buffer, reviver?: Reviver): JsonResult {
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
