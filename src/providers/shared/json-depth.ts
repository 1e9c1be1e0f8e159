/** The deepest nesting that is accepted. Providers use about ten levels, our own API three. */
export const MAX_JSON_DEPTH = 64;

const [QUOTE, BACKSLASH, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE, COMMA] = Buffer.from('"\\[]{},');

/** Whether JSON is nested deeper than {@link MAX_JSON_DEPTH}, so that no hostile body is parsed before its depth is known. */
export function isTooDeep(body: Buffer): boolean {
  return exceeds(body, { depth: MAX_JSON_DEPTH, values: Number.POSITIVE_INFINITY });
}

/** Whether JSON has more values than so many: each takes far more memory than it has bytes. */
export function hasMoreValues(body: Buffer, values: number): boolean {
  return exceeds(body, { depth: Number.POSITIVE_INFINITY, values });
}

/** Counts brackets and commas outside strings. */
function exceeds(body: Buffer, most: { readonly depth: number; readonly values: number }): boolean {
  let depth = 0;
  let values = 0;
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
      values += 1;
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) {
      depth -= 1;
    } else if (byte === COMMA) {
      values += 1;
    }
    if (depth > most.depth || values > most.values) return true;
  }
  return false;
}
