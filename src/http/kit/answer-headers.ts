import type { ServerResponse } from 'node:http';

/**
 * The headers of an answer in the order in which they were set: name, value, name, value … Node checks and stores each header that is set on a
 * response by itself, and goes through all of them once more to write them. Given as one list they take half of that.
 */
const KEPT: unique symbol = Symbol('headers');

declare module 'node:http' {
  interface ServerResponse {
    [KEPT]?: (string | number)[] | undefined;
  }
}

/** From here on the headers of this answer are kept until it is written, by {@link writeHead}. */
export function keepHeaders(response: ServerResponse): void {
  response[KEPT] = [];
}

/** Sets a header of an answer, whether they are kept or not. */
export function setHeader(response: ServerResponse, name: string, value: string | number): void {
  const kept = response[KEPT];
  if (kept === undefined) {
    response.setHeader(name, value);
    return;
  }
  const at = placeOf(kept, name);
  if (at < 0) kept.push(name, value);
  else kept[at + 1] = value;
}

/** Sets headers that were not set before: names and values in turn. */
export function addHeaders(response: ServerResponse, headers: readonly string[]): void {
  const kept = response[KEPT];
  for (let index = 0; index < headers.length; index += 2) {
    const [name = '', value = ''] = [headers[index], headers[index + 1]];
    if (kept === undefined) response.setHeader(name, value);
    else kept.push(name, value);
  }
}

export function hasHeader(response: ServerResponse, name: string): boolean {
  const kept = response[KEPT];
  return kept === undefined ? response.hasHeader(name) : placeOf(kept, name) >= 0;
}

/** A header that was set, as text; empty if it was not. */
export function headerText(response: ServerResponse, name: string): string {
  const kept = response[KEPT];
  if (kept === undefined) return String(response.getHeader(name) ?? '');
  const at = placeOf(kept, name);
  return at < 0 ? '' : String(kept[at + 1] ?? '');
}

/** Writes the status and the headers that were kept; the answer must have a length. */
export function writeHead(response: ServerResponse, status: number): void {
  const kept = response[KEPT];
  response.statusCode = status;
  if (kept === undefined) return;
  response[KEPT] = undefined;
  response.writeHead(status, kept);
}

/** Hands the headers over to Node, for whoever writes the answer in another way. */
export function releaseHeaders(response: ServerResponse): void {
  const kept = response[KEPT] ?? [];
  response[KEPT] = undefined;
  for (let index = 0; index < kept.length; index += 2) response.setHeader(String(kept[index]), kept[index + 1] ?? '');
}

/** Whoever sets a header again writes its name as before. */
function placeOf(kept: readonly (string | number)[], name: string): number {
  for (let index = 0; index < kept.length; index += 2) if (kept[index] === name) return index;
  return -1;
}
