import type { ProviderApiError } from '../../src/providers/shared/api.ts';
import { type CannedAnswer, INFLATING, type Misbehaviour } from './faulty-api.ts';

/** One way in which a provider's API misbehaves, and what our clients make of it. */
export interface ApiFault {
  readonly name: string;
  /** @param elsewhere an address that must never be called */
  readonly does: (elsewhere: string) => Misbehaviour;
  readonly kind: ProviderApiError['kind'];
  /** What follows the provider's name in the message. */
  readonly says: RegExp;
  /** As the provider says it. */
  readonly retryAfterSeconds?: number;
  /** Where nothing but our own patience ends it: how long that is. */
  readonly timeoutMs?: number;
  /** It takes a while to read as much of it as is read. */
  readonly isLarge?: true;
}

/** It stands in every answer that has something in it, and must stand in no message of ours. */
export const QUOTED = 'somebody@private.example';

const ERROR = { type: 'invalid_request_error', code: 'internal', message: `for ${QUOTED}`, detail: QUOTED };
/** With an error in every place where a provider puts one. */
const ERROR_BODY = JSON.stringify({ error: ERROR, errors: [ERROR], code: 'INTERNAL', message: `for ${QUOTED}` });
const HTML = { headers: { 'content-type': 'text/html' }, body: `<html>${QUOTED}</html>` };

export function failing(status: number, headers: Readonly<Record<string, string>> = {}): CannedAnswer {
  return { status, headers, body: ERROR_BODY };
}

const answering = (body: string): CannedAnswer => ({ status: 200, body });
const TIMEOUT_MS = 1_000;

const UNAVAILABLE: readonly Omit<ApiFault, 'kind'>[] = [
  { name: 'silence', does: () => 'silence', says: /^does not answer in time$/, timeoutMs: TIMEOUT_MS },
  {
    name: 'an answer a byte at a time, for ever',
    does: () => ({ status: 200, endless: 'slow' }),
    says: /^does not answer in time$/,
    timeoutMs: TIMEOUT_MS,
  },
  {
    name: 'a failure a byte at a time, for ever',
    does: () => ({ status: 500, endless: 'slow' }),
    // Some need not know the rest of it.
    says: /^(answers 500|does not answer in time)$/,
    timeoutMs: TIMEOUT_MS,
  },
  {
    name: 'a failure without an end',
    does: () => ({ status: 500, endless: 'fast' }),
    says: /^answers 500$/,
    isLarge: true,
  },
  { name: 'half an answer', does: () => 'half', says: /^cannot be reached$/ },
  { name: 'a cut connection', does: () => 'reset', says: /^cannot be reached$/ },
  { name: 'noise', does: () => 'noise', says: /^cannot be reached$/ },
  ...[301, 307].map((status) => ({
    name: `a redirect (${status})`,
    does: (location: string) => failing(status, { location }),
    says: /^cannot be reached$/,
  })),
  { name: 'broken JSON', does: () => answering('{"data":[{,"\0'), says: /^does not answer with JSON$/ },
  { name: 'an empty answer', does: () => answering(''), says: /^does not answer with JSON$/ },
  { name: 'HTML', does: () => ({ status: 200, ...HTML }), says: /^does not answer with JSON$/ },
  { name: 'an HTML page with 502', does: () => ({ status: 502, ...HTML }), says: /^answers 502$/ },
  { name: '500', does: () => failing(500), says: /^answers 500$/ },
  {
    name: '503 with Retry-After',
    does: () => failing(503, { 'retry-after': '2' }),
    says: /^answers 503$/,
    retryAfterSeconds: 2,
  },
];

const REFUSED: readonly Omit<ApiFault, 'kind'>[] = [
  {
    name: 'millions of empty objects',
    does: () => answering(`{"data":[${'{},'.repeat(6_000_000)}{}],"has_more":false}`),
    says: /^answers with too much at once$/,
    isLarge: true,
  },
  { name: '400', does: () => failing(400), says: /^answers 400$/ },
  { name: 'an error inside a 200', does: () => failing(200), says: /^answers (200$|in a form we do not know: )/ },
  {
    name: 'JSON of another form',
    does: () => answering(`{"data":[{"${QUOTED}":1}],"items":[{}]}`),
    says: /^answers in a form we do not know: /,
  },
  {
    name: 'JSON that is no object',
    does: () => answering(`"${QUOTED}"`),
    says: /^answers in a form we do not know: the body$/,
  },
  {
    name: 'an answer without an end',
    does: () => ({ status: 200, endless: 'fast' }),
    says: /^answers with too much at once$/,
    isLarge: true,
  },
  { name: 'an answer that inflates', does: () => INFLATING, says: /^answers with too much at once$/, isLarge: true },
];

const RATE_LIMITED: readonly Omit<ApiFault, 'kind'>[] = [
  { name: '429', does: () => failing(429), says: /^limits the rate \(429\)$/ },
  {
    name: '429 with Retry-After',
    does: () => failing(429, { 'retry-after': '2' }),
    says: /^limits the rate \(429\)$/,
    retryAfterSeconds: 2,
  },
];

export const API_FAULTS: readonly ApiFault[] = [
  ...UNAVAILABLE.map((fault) => ({ ...fault, kind: 'unavailable' as const })),
  ...REFUSED.map((fault) => ({ ...fault, kind: 'refused' as const })),
  ...RATE_LIMITED.map((fault) => ({ ...fault, kind: 'rate_limited' as const })),
  { name: '403', does: () => failing(403), kind: 'unauthorized', says: /^refuses the API key \(403\)$/ },
];
