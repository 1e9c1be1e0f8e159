import { createServer, type Server } from 'node:http';
import { Webhook } from 'svix';
import { z } from 'zod';
import { eventually } from '../support/wait.ts';

const eventSchema = z.object({
  id: z.string(),
  type: z.string(),
  data: z.looseObject({ customer_id: z.string(), currency: z.string(), balance: z.int().optional() }),
});

export type ReceivedEvent = z.infer<typeof eventSchema>;

/** A merchant's endpoint: it trusts nothing that the `svix` package has not verified, and drops repeats by their id. */
export class MerchantEndpoint {
  readonly #server: Server;
  readonly #received = new Map<string, ReceivedEvent>();
  readonly #told = new Set<ReceivedEvent>();
  /** Deliveries whose signature did not verify; a demo that ends with one has failed. */
  rejected = 0;
  secret = '';

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        response.statusCode = this.#take(Buffer.concat(chunks).toString(), request.headers) ? 204 : 401;
        response.end();
      });
    });
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => {
        const address = this.#server.address();
        resolve(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/hooks`);
      });
    });
  }

  /** Waits for an event about a wallet, of this type and balance; each is given once, as a balance may come again. */
  async event(type: string, customerId: string, currency: string, balance: number): Promise<ReceivedEvent> {
    const isAwaited = (event: ReceivedEvent) => {
      const { type: seen, data } = event;
      const isOfWallet = data.customer_id === customerId && data.currency === currency && data.balance === balance;
      return isOfWallet && seen === type && !this.#told.has(event);
    };
    const event = await eventually(`the webhook ${type} with a balance of ${balance} ${currency}`, () =>
      [...this.#received.values()].find(isAwaited),
    );
    this.#told.add(event);
    return event;
  }

  /** Waits for an event that is about something else of a customer than a balance. */
  async message(type: string, customerId: string): Promise<ReceivedEvent> {
    const event = await eventually(`the webhook ${type}`, () =>
      [...this.#received.values()].find(
        (one) => one.type === type && one.data.customer_id === customerId && !this.#told.has(one),
      ),
    );
    this.#told.add(event);
    return event;
  }

  /** How many different events of a type arrived. */
  count(type: string): number {
    return [...this.#received.values()].filter((event) => event.type === type).length;
  }

  /** Those that no row of the story waited for, such as the change that came with an alert: how many of each type. */
  besides(): readonly string[] {
    const rest = [...this.#received.values()].filter((event) => !this.#told.has(event)).map(({ type }) => type);
    return [...new Set(rest)].map((type) => `${rest.filter((one) => one === type).length} × ${type}`);
  }

  get total(): number {
    return this.#received.size;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #take(body: string, headers: NodeJS.Dict<string | string[]>): boolean {
    try {
      const plain = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
      new Webhook(this.secret).verify(body, plain);
    } catch {
      this.rejected += 1;
      return false;
    }
    const event = eventSchema.parse(JSON.parse(body));
    if (!this.#received.has(event.id)) this.#received.set(event.id, event);
    return true;
  }
}
