import { Agent, type Dispatcher, request } from 'undici';
import type { Clock } from '../../clock.ts';
import { sign } from '../../crypto/standard-webhooks.ts';
import type { EndpointHeaders } from '../outgoing.ts';
import { guardedConnector, RefusedAddressError } from './addresses.ts';
import { parseRetryAfter } from './retry-schedule.ts';

/** The same as Svix's. */
const TIMEOUT_MS = 15_000;
const KEPT_MS = 10_000;
/** How much of an answer is kept for the merchant to look at. */
const MAX_RESPONSE_BYTES = 2048;
export const USER_AGENT = 'Chokin-Webhooks/1.0';

export interface SignedPost {
  readonly url: string;
  readonly messageId: string;
  readonly payload: string;
  /** The message is signed with each of them: there are several while a secret is rotated. */
  readonly secrets: readonly string[];
  /** The merchant's own headers. They cannot replace those that the sender sets. */
  readonly headers?: EndpointHeaders;
}

/** How one POST went. Exactly one of `statusCode` and `error` is null. */
export interface AttemptResult {
  readonly statusCode: number | null;
  readonly error: string | null;
  readonly response: string | null;
  readonly durationMs: number;
  readonly timedOut: boolean;
  readonly retryAfterSeconds: number | null;
}

export interface SenderOptions {
  readonly clock: Clock;
  /** Allows http, loopback and private addresses: for local development. */
  readonly allowPrivate: boolean;
  readonly timeoutMs?: number;
  /** How connections are opened; the guarded connector unless given. */
  readonly connect?: ReturnType<typeof guardedConnector>;
}

/** Posts signed messages to merchants' endpoints: no redirects, public addresses alone, bounded in time and size. */
export class DirectSender {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #agent: Agent;

  constructor({ clock, allowPrivate, timeoutMs = TIMEOUT_MS, connect }: SenderOptions) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    const connector = connect ?? guardedConnector(allowPrivate, timeoutMs);
    // An endpoint may ask to have its connection kept for minutes, and there may be thousands of endpoints.
    this.#agent = new Agent({ connect: connector, pipelining: 1, keepAliveMaxTimeout: KEPT_MS });
  }

  /** Never throws for what the other side does. */
  async post({ url, messageId, payload, secrets, headers = {} }: SignedPost): Promise<AttemptResult> {
    const now = this.#clock.now();
    const timestampSeconds = Math.floor(now.getTime() / 1000);
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const started = performance.now();
    const elapsed = () => Math.round(performance.now() - started);
    try {
      const answer = await request(url, {
        dispatcher: this.#agent,
        method: 'POST',
        headers: {
          ...withoutSenderHeaders(headers),
          'content-type': 'application/json',
          'user-agent': USER_AGENT,
          'webhook-id': messageId,
          'webhook-timestamp': String(timestampSeconds),
          'webhook-signature': secrets
            .map((secret) => sign(secret, { messageId, timestampSeconds, body: payload }))
            .join(' '),
        },
        body: payload,
        signal,
      });
      const retryAfter = answer.headers['retry-after'];
      return {
        statusCode: answer.statusCode,
        error: null,
        response: await readStart(answer.body),
        durationMs: elapsed(),
        timedOut: false,
        retryAfterSeconds: parseRetryAfter(typeof retryAfter === 'string' ? retryAfter : undefined, now),
      };
    } catch (error) {
      const timedOut = signal.aborted || isTimeout(error);
      return {
        statusCode: null,
        error: timedOut ? `no answer within ${this.#timeoutMs / 1000} s` : describe(error),
        response: null,
        durationMs: elapsed(),
        timedOut,
        retryAfterSeconds: null,
      };
    }
  }

  async close(): Promise<void> {
    if (!this.#agent.closed) await this.#agent.close();
  }
}

const SET_BY_SENDER = /^(?:content-|webhook-|svix-|user-agent$|host$|connection$|transfer-encoding$)/i;

/** Headers were checked when they were set. They are filtered again, since a changed row must not forge a signature. */
function withoutSenderHeaders(headers: EndpointHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !SET_BY_SENDER.test(name)));
}

/** The start of a body as text that Postgres can store. A body that breaks off is no failure, since the status alone decides. */
async function readStart(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= MAX_RESPONSE_BYTES) break;
    }
  } catch {}
  return Buffer.concat(chunks).subarray(0, MAX_RESPONSE_BYTES).toString('utf8').replaceAll('\0', '\ufffd');
}

const TIMEOUT_CODES = ['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'];

function isTimeout(error: unknown): boolean {
  return TIMEOUT_CODES.includes(codeOf(error));
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** The code alone, such as ECONNREFUSED: the error's message would show addresses of our network. */
function describe(error: unknown): string {
  if (error instanceof RefusedAddressError) return `${error.code}: ${error.message}`;
  return codeOf(error) || 'the connection failed';
}
