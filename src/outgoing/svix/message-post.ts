import type { Dispatcher } from 'undici';
import type { Secret } from '../../crypto/secret.ts';
import { USER_AGENT } from '../embedded/send.ts';
import { svixAgent } from './fetch.ts';

/** A message as Svix is told of it. */
export interface NewMessage {
  /** Ours: what Svix calls the event's id, and the idempotency key. */
  readonly messageId: string;
  readonly eventType: string;
  /** A JSON object as text, which goes out as it is. */
  readonly payload: string;
}

export interface MessagePosterOptions {
  /** As the SDK wants it: perhaps with a path, without a slash at its end. */
  readonly baseUrl: string;
  readonly token: Secret;
  /** For a whole call, from the connection to the last byte of the answer. */
  readonly timeoutMs: number;
}

/** Svix's answer. A body that is too long is cut off. */
export interface PostAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly text: string;
}

/** Far more than Svix answers to a message, since the answer does not repeat the payload. */
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Posts messages with the same request as the SDK's `message.create`, except for the user agent. The SDK parses each payload,
 * serialises it again and uses `fetch`, which takes 0.13 ms of CPU a message; this takes 0.03. On a machine of two cores Svix
 * itself has only the CPU time that we leave (`docs/performance.md`).
 */
export class MessagePoster {
  readonly #origin: string;
  readonly #pathPrefix: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeoutMs: number;

  constructor({ baseUrl, token, timeoutMs }: MessagePosterOptions) {
    const { origin, pathname } = new URL(baseUrl);
    this.#origin = origin;
    this.#pathPrefix = `${pathname === '/' ? '' : pathname}/api/v1/app`;
    this.#headers = {
      accept: 'application/json, */*;q=0.8',
      authorization: `Bearer ${token.reveal()}`,
      'content-type': 'application/json',
      'user-agent': USER_AGENT,
    };
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Follows no redirect and tries nothing twice.
   * @throws {TypeError} with its cause, if there is no answer
   * @throws {DOMException} of the name TimeoutError, if it comes too late
   */
  post(application: string, { messageId, eventType, payload }: NewMessage): Promise<PostAnswer> {
    const request: Dispatcher.DispatchOptions = {
      origin: this.#origin,
      path: `${this.#pathPrefix}/${encodeURIComponent(application)}/msg?with_content=false`,
      method: 'POST',
      headers: { ...this.#headers, 'svix-req-id': newRequestId(), 'idempotency-key': messageId },
      body: `{"eventId":${JSON.stringify(messageId)},"eventType":${JSON.stringify(eventType)},"payload":${payload}}`,
    };
    const exchange = new Exchange(this.#timeoutMs);
    svixAgent.dispatch(request, exchange);
    return exchange.answer;
  }
}

/** The id of a request in Svix's log. */
function newRequestId(): string {
  return Math.floor(Math.random() * Number.MAX_SAFE_INTEGER).toString();
}

/** One request and the start of its answer. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #answered = Promise.withResolvers<PostAnswer>();
  readonly #timer: NodeJS.Timeout;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #status = 0;
  #headers: PostAnswer['headers'] = {};
  #controller: Dispatcher.DispatchController | null = null;
  #timedOut: Error | null = null;

  constructor(timeoutMs: number) {
    this.#timer = setTimeout(() => {
      this.#timedOut = new DOMException('The operation was aborted due to timeout', 'TimeoutError');
      this.#fail(this.#timedOut);
      this.#controller?.abort(this.#timedOut);
    }, timeoutMs);
  }

  get answer(): Promise<PostAnswer> {
    return this.#answered.promise;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // The request waited for a connection until its time was over, and its caller has given up.
    if (this.#timedOut !== null) controller.abort(this.#timedOut);
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: PostAnswer['headers']): void {
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes <= MAX_ANSWER_BYTES) return;
    this.#finish();
    controller.abort(new Error('the answer is too long'));
  }

  onResponseEnd(): void {
    this.#finish();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#fail(new TypeError('fetch failed', { cause: error }));
  }

  #finish(): void {
    clearTimeout(this.#timer);
    const text = Buffer.concat(this.#chunks).toString('utf8', 0, MAX_ANSWER_BYTES);
    this.#answered.resolve({ status: this.#status, headers: this.#headers, text });
  }

  #fail(error: Error): void {
    clearTimeout(this.#timer);
    this.#answered.reject(error);
  }
}
