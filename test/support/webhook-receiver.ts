import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'svix';

/** What a merchant's endpoint received. */
export interface ReceivedWebhook {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** How the endpoint answers one request. */
export interface ReceiverAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** `stall`: the headers and the start of the body come, the rest never does. */
  readonly connection?: 'hang' | 'reset' | 'stall';
}

/** A merchant's endpoint: records what it gets, answers as scripted and with 204 after that. */
export class WebhookReceiver {
  readonly received: ReceivedWebhook[] = [];
  readonly #answers: ReceiverAnswer[] = [];
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch(() => response.destroy());
  });

  static async start(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    await new Promise<void>((resolve) => {
      receiver.#server.listen(0, '127.0.0.1', resolve);
    });
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  answerWith(...answers: readonly ReceiverAnswer[]): void {
    this.#answers.push(...answers);
  }

  /** The payloads received so far, parsed. */
  get payloads(): readonly Record<string, unknown>[] {
    return this.received.map(({ body }) => JSON.parse(body));
  }

  /** Verifies a request with Svix's own verifier. @throws {Error} if the signature is not one of `secret` */
  verify({ body, headers }: ReceivedWebhook, secret: string): void {
    const texts = Object.entries(headers).map(([name, value]) => [name, String(value)]);
    new Webhook(secret).verify(body, Object.fromEntries(texts));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    this.received.push({
      path: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    });
    const { status = 204, headers = {}, body, connection } = this.#answers.shift() ?? {};
    if (connection === 'hang') return;
    if (connection === 'reset') {
      request.socket.resetAndDestroy();
      return;
    }
    response.writeHead(status, headers);
    if (connection === 'stall') response.write(body ?? 'begun');
    else response.end(body);
  }
}
