import type { ServerResponse } from 'node:http';
import helmet from 'helmet';
import { addHeaders } from './answer-headers.ts';

/** Answers are data: a browser must not run them, show them in a frame or guess their type. */
const policy = helmet({
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
});

/** What helmet sets is the same for every answer, so it is asked once. */
function headersOf(set: typeof policy): readonly string[] {
  const headers: string[] = [];
  const response = {
    setHeader: (name: string, value: string) => headers.push(name, value),
    removeHeader: () => {},
  };
  Reflect.apply(set, undefined, [{}, response, () => {}]);
  return headers;
}

const HEADERS = headersOf(policy);

/** Sets the headers of every answer that is no page. */
export function setSecurityHeaders(response: ServerResponse): void {
  addHeaders(response, HEADERS);
}
