import { setTimeout as delay } from 'node:timers/promises';
import { RawSocket } from '../security/raw-socket.ts';
import type { Random } from './plan.ts';

/** A merchant that does what it can with its key, and a customer of it. */
export interface Mallory {
  readonly apiKey: string;
  readonly customerId: string;
  readonly webhookPath: string;
}

/** They come from an address of their own, as strangers do. */
const FROM = '127.0.0.2';
const LASTS_MS = 3_000;
const MEBIBYTE = 1024 * 1024;
const METADATA = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`k${n}`, '世'.repeat(400)]));

/** What strangers and a hostile merchant do to the service, whose honest callers must not notice more than a retry. */
export class Hostile {
  attacks = 0;
  readonly #ports: readonly number[];
  readonly #mallory: Mallory;
  #ids = 0;

  constructor(addresses: readonly string[], mallory: Mallory) {
    this.#ports = addresses.map((address) => Number(new URL(address).port));
    this.#mallory = mallory;
  }

  /** One attack after another, of a kind that is drawn, until the signal comes. */
  async run(random: Random, signal: AbortSignal): Promise<void> {
    const { apiKey, customerId, webhookPath } = this.#mallory;
    const signature = () => `Stripe-Signature: t=${Math.floor(Date.now() / 1000)},v1=${'0'.repeat(64)}\r\n`;
    const page = `/customers/${customerId}/wallets/ledger-entries?page_size=100`;
    const kinds: readonly (() => string | Buffer)[] = [
      () => `POST ${webhookPath} HTTP/1.1\r\nHost: a\r\n${signature()}Content-Length: 1000\r\n\r\n{`,
      () =>
        Buffer.concat([
          Buffer.from(`POST ${webhookPath} HTTP/1.1\r\nHost: a\r\n${signature()}Content-Length: ${MEBIBYTE}\r\n\r\n`),
          Buffer.alloc(MEBIBYTE - 1, ' '),
        ]),
      () => `GET /customers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong_${random.int(0, 1e9)}\r\n\r\n`,
      () => `POST /webhooks/stripe/src_${random.int(0, 1e9)} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n`,
      () => `GET ${page} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${apiKey}\r\n\r\n`,
      () => this.#batch(random),
      () => 'GET / HTTP/1.1\r\nX-Never-Ends: ',
    ];
    while (!signal.aborted) {
      this.attacks += 1;
      const message = random.pick(kinds);
      const port = random.pick(this.#ports);
      const count = random.int(1, 60);
      const sockets = await Promise.allSettled(Array.from({ length: count }, () => RawSocket.open(port, FROM)));
      const open = sockets.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      for (const { socket } of open) socket.pause();
      for (const socket of open) socket.write(message());
      await delay(random.int(500, LASTS_MS), null, { signal }).catch(() => {});
      for (const socket of open) socket.destroy();
    }
  }

  #batch(random: Random): string {
    const { apiKey, customerId } = this.#mallory;
    const entries = Array.from({ length: random.int(1, 50) }, () => {
      this.#ids += 1;
      const idempotency_key = `hostile_${this.#ids}`;
      const entry = { customer_id: customerId, amount: 1, currency: 'USD', entry_type: 'credit', idempotency_key };
      return random.chance(0.1) ? { ...entry, metadata: METADATA } : entry;
    });
    const body = JSON.stringify({ entries });
    const headers = `Authorization: Bearer ${apiKey}\r\nContent-Type: application/json`;
    const length = `Content-Length: ${Buffer.byteLength(body)}`;
    return `POST /ledger-entries/batch HTTP/1.1\r\nHost: a\r\n${headers}\r\n${length}\r\n\r\n${body}`;
  }
}
