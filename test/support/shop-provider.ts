import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { SignedHeaders } from './signing.ts';

/** A request of a shop, which its provider refuses or answers. */
export interface ShopRequest {
  /** Such as `POST /v1/refunds`. */
  readonly route: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A provider as a shop meets it: it takes requests of its official package, and sends signed events. */
export abstract class ShopProvider {
  readonly #server: Server;
  /** Where events go. */
  forwardTo = '';
  /** While false, events are lost on their way. */
  delivers = true;

  constructor() {
    this.#server = createServer(async (request, response) => {
      const send = (status: number, json: object) => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
      };
      const { headers } = request;
      try {
        const body = await text(request);
        send(200, await this.answer({ route: `${request.method} ${request.url}`, headers, body }));
      } catch (error) {
        const { status, json } = this.refusal(error instanceof Error ? error.message : String(error));
        send(status, json);
      }
    });
  }

  /** @throws {Error} for what the provider would refuse */
  protected abstract answer(request: ShopRequest): Promise<object>;
  protected abstract refusal(message: string): { readonly status: number; readonly json: object };

  async listen(): Promise<string> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  protected async send(body: string, headers: SignedHeaders): Promise<void> {
    if (!this.delivers) return;
    const response = await fetch(this.forwardTo, { method: 'POST', body, headers });
    if (!response.ok) throw new Error(`the event was answered ${response.status}`);
  }
}

/** The one of this id. @throws {Error} if there is none */
export function found<T>(list: ReadonlyMap<string, T>, id: string): T {
  const one = list.get(id);
  if (one === undefined) throw new Error(`there is no ${id}`);
  return one;
}
