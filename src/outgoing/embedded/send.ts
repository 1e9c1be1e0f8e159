import { Agent, type Dispatcher, request } from 'undici';
import type { Clock } from '../../clock.ts';
import { sign } from '../../crypto/standard-webhooks.ts';
import type { EndpointHeaders } from '../outgoing.ts';
import { guardedConnector, RefusedAddressError } from './addresses.ts';
import { parseRetryAfter } from './retry-schedule.ts';

/** Svix gives receivers as long. */
const TIMEOUT_MS = 15_000;
/** How much of an answer is kept for the merchant to look at. */
const MAX_RESPONSE_BYTES = 2048;
const USER_AGENT = 'Chokin-Webhooks/1.0';

export interface SignedPost {
  readonly url: string;
  readonly messageId: string;
  readonly payload: string;
  /** Signs with each: several while a secret is rotated. */
  readonly secrets: readonly string[];
  /** The merchant's own. They cannot take the place of ours. */
  readonly headers?: EndpointHeaders;
}

/** How one POST went. Exactly one of `statusCode` and `error` is null. */
export interface PostOutcome {
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
    this.#agent = new Agent({ connect: connect ?? guardedConnector(allowPrivate, timeoutMs), pipelining: 1 });
  }

  /** Never throws for what the other side does. */
  async post({ url, messageId, payload, secrets, headers = {} }: SignedPost): Promise<PostOutcome> {
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
          ...withoutOurs(headers),
          'content-type': 'application/json',
          'user-agent': USER_AGENT,
          'webhook-id': messageId,
          'webhook-timestamp': String(timestampSeconds),
          'webhook-signature': secrets.map((secret) => sign(secret, messageId, timestampSeconds, payload)).join(' '),
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

const OURS = /^(?:content-|webhook-|svix-|user-agent$|host$|connection$|transfer-encoding$)/i;

/** They were checked when they were set; a row that was changed since must still not forge a signature. */
function withoutOurs(headers: EndpointHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OURS.test(name)));
}

/** The start of a body as text that Postgres can store. The status has decided already, so a body that breaks off is no failure. */
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

/** A code such as ECONNREFUSED says enough; messages would show addresses of our network. */
function describe(error: unknown): string {
  if (error instanceof RefusedAddressError) return `${error.code}: ${error.message}`;
  return codeOf(error) || 'the connection failed';
}
