import { isUtf8 } from 'node:buffer';

/** The receiver's own limit; a longer body never gets here. */
const MAX_BODY_BYTES = 1_048_576;
/** Providers nest about ten levels deep. */
const MAX_DEPTH = 64;

const [QUOTE, BACKSLASH, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = Buffer.from('"\\[]{}');

export type JsonResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly detail: string };

/** Replaces a value while it is parsed; `source` is how a number stood in the text, before it was rounded. */
export type Reviver = (key: string, value: unknown, context?: { readonly source?: string }) => unknown;

/** Parses a provider's body within limits of size and depth. Never throws; the detail quotes nothing of the body. */
export function parseJson(rawBody: Buffer, reviver?: Reviver): JsonResult {
  if (rawBody.length > MAX_BODY_BYTES) return { ok: false, detail: `the body is longer than ${MAX_BODY_BYTES} bytes` };
  if (!isUtf8(rawBody)) return { ok: false, detail: 'the body is not UTF-8' };
  if (isTooDeep(rawBody)) return { ok: false, detail: `the body is nested more than ${MAX_DEPTH} levels deep` };
  try {
    return { ok: true, value: JSON.parse(rawBody.toString('utf8'), reviver) };
  } catch {
    // The parser's message quotes the body, which may hold personal data.
    return { ok: false, detail: 'the body is not JSON' };
  }
}

/** Counts brackets outside strings, so that nothing is built from a hostile body before its depth is known. */
function isTooDeep(body: Buffer): boolean {
  let depth = 0;
  let isInString = false;
  for (let index = 0; index < body.length; index += 1) {
    const byte = body[index];
    if (isInString) {
      if (byte === BACKSLASH) index += 1;
      else if (byte === QUOTE) isInString = false;
    } else if (byte === QUOTE) {
      isInString = true;
    } else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) {
      depth += 1;
      if (depth > MAX_DEPTH) return true;
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) {
      depth -= 1;
    }
  }
  return false;
}
