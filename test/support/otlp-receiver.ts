import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';

/** OTLP's JSON, as far as the tests look into it: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. */
const value = z.looseObject({
  stringValue: z.string().optional(),
  intValue: z.union([z.string(), z.number()]).optional(),
});
const attributes = z.array(z.object({ key: z.string(), value })).default([]);
const span = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  kind: z.int(),
  attributes,
  links: z.array(z.object({ traceId: z.string(), spanId: z.string() })).default([]),
  status: z.object({ code: z.int().optional() }).optional(),
});
const request = z.object({
  resourceSpans: z.array(
    z.object({ resource: z.object({ attributes }), scopeSpans: z.array(z.object({ spans: z.array(span) })) }),
  ),
});

export interface ReceivedSpan extends Omit<z.infer<typeof span>, 'attributes'> {
  readonly service: string | undefined;
  readonly attributes: Readonly<Record<string, string | undefined>>;
}

function toRecord(pairs: z.infer<typeof attributes>): Record<string, string | undefined> {
  const text = (one: z.infer<typeof value>) => one.stringValue ?? (one.intValue ?? JSON.stringify(one)).toString();
  return Object.fromEntries(pairs.map((pair) => [pair.key, text(pair.value)]));
}

/** A collector: takes spans over OTLP/HTTP with JSON and keeps them; or takes the connection and never answers. */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly headers: IncomingHttpHeaders[] = [];
  /** Everything it was sent. */
  text = '';
  /** Set by a test: requests are left without an answer. */
  hangs = false;
  requests = 0;
  readonly #server = createServer(async (incoming, response) => {
    this.requests += 1;
    if (this.hangs) return;
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    this.text += body;
    this.headers.push(incoming.headers);
    if (incoming.url !== '/v1/traces') {
      response.writeHead(404).end();
      return;
    }
    for (const { resource, scopeSpans } of request.parse(JSON.parse(body)).resourceSpans) {
      const service = toRecord(resource.attributes)['service.name'];
      for (const one of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({ ...one, service, attributes: toRecord(one.attributes) });
      }
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });

  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    await new Promise<void>((resolve) => {
      receiver.#server.listen(0, '127.0.0.1', resolve);
    });
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The spans of this name, and of this trace if one is given. */
  named(name: string, traceId?: string): readonly ReceivedSpan[] {
    return this.spans.filter((one) => one.name === name && (traceId === undefined || one.traceId === traceId));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
