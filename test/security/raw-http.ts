import { Agent, request } from 'node:http';
import type { RawAnswer } from './openapi-operations.ts';

export interface RawRequest {
  readonly method: string;
  /** Sent as it is, dots and percent signs included; `fetch` would mend it first. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string | Buffer | undefined;
}

/** An HTTP client that mends nothing and keeps its connections. */
export class RawHttp {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 50 });
  readonly #baseURL: string;

  constructor(baseURL: string) {
    this.#baseURL = baseURL;
  }

  send({ method, path, headers = {}, body }: RawRequest): Promise<RawAnswer> {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    return new Promise((resolve, reject) => {
      const sent = request(`${this.#baseURL}/`, {
        method,
        path,
        headers: { ...length, ...headers },
        agent: this.#agent,
      });
      sent.once('error', reject);
      sent.once('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            contentType: response.headers['content-type'] ?? '',
            text: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      });
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
