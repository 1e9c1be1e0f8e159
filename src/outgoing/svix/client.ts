import { ApiException, Svix } from 'svix';
import { z } from 'zod';
import type { Secret } from '../../crypto/secret.ts';
import { svixFetch, toHeaders } from './fetch.ts';
import { MessagePoster, type NewMessage, type PostAnswer } from './message-post.ts';

export interface SvixClientOptions {
  readonly token: Secret;
  /** For a self-hosted Svix; the cloud region is in the token. */
  readonly serverUrl?: string;
  readonly timeoutMs?: number;
}

/** Part of how soon merchants are told after an outage of Svix: see `ticker.ts`. */
export const TIMEOUT_MS = 10_000;

/** The official client, without its retries: ours are jobs, with back-off over days. */
export class SvixClient extends Svix {
  readonly #messages: MessagePoster;

  constructor({ token, serverUrl, timeoutMs = TIMEOUT_MS }: SvixClientOptions) {
    super(token.reveal(), {
      requestTimeout: timeoutMs,
      // `numRetries: 0` would mean the client's default of two.
      retryScheduleInMs: [],
      fetch: svixFetch,
      ...(serverUrl === undefined ? {} : { serverUrl }),
    });
    const { baseUrl } = this.requestCtx;
    this.#messages = new MessagePoster({ baseUrl, token, timeoutMs });
  }

  /**
   * The same request as `message.create`, with the message's id as idempotency key, for a fifth of the CPU. It is used for
   * wallets' messages, of which there are thousands.
   * @returns Svix's id of the message; null if the answer has none
   * @throws {unknown} as `message.create` does
   */
  async postMessage(application: string, message: NewMessage): Promise<string | null> {
    return idIn(await this.#messages.post(application, message));
  }
}

const acceptedMessage = z.object({ id: z.string().optional() });

function idIn({ status, headers, text }: PostAnswer): string | null {
  if (status < 300) {
    const accepted = acceptedMessage.safeParse(JSON.parse(text));
    if (!accepted.success) throw new SyntaxError('no answer of Svix');
    return accepted.data.id ?? null;
  }
  // The same as the SDK: the body of a refusal must be JSON, else a proxy has answered; that of a failure does not matter.
  const isRefusal = status >= 400 && status < 500;
  throw new ApiException<unknown>(status, isRefusal ? JSON.parse(text) : text, toHeaders(headers));
}
