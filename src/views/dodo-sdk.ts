import type { IncomingHttpHeaders } from 'node:http';

/** Whether one of Dodo Payments' official SDKs sent the request. All of them name their language in this header. */
export function isDodoSdk(headers: IncomingHttpHeaders): boolean {
  return headers['x-stainless-lang'] !== undefined;
}
