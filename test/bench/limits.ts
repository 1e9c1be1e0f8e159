import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { STRIPE_SECRET } from '../support/signing.ts';

/**
 * What no service in this language on this machine can pass: a server that takes a request, does the one thing of it that has to be
 * done, and answers, without a database. Measured in the same blocks as ours.
 */

const ANSWER = {
  customer_id: 'cus_bench1',
  currency: 'USD',
  balance: 1_000_000,
  updated_at: '2026-11-29T00:00:00.000Z',
};

function bodyOf(request: IncomingMessage, then: (body: Buffer) => void): void {
  const parts: Buffer[] = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => then(parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)));
}

function answer(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text);
}

/** Reads a JSON body and answers with one. */
const parse: RequestListener = (request, response) =>
  bodyOf(request, (body) => {
    if (body.length > 0) JSON.parse(body.toString('utf8'));
    answer(response, 200, ANSWER);
  });

/** Reads a provider's delivery and answers whether its signature is right. */
const verify: RequestListener = (request, response) =>
  bodyOf(request, (body) => {
    const header = String(request.headers['stripe-signature']);
    const [, time = '', signature = ''] = /^t=(\d+),v1=([0-9a-f]{64})/.exec(header) ?? [];
    const expected = createHmac('sha256', STRIPE_SECRET).update(`${time}.`).update(body).digest();
    const given = Buffer.from(signature, 'hex');
    const isRight = given.length === expected.length && timingSafeEqual(given, expected);
    answer(response, isRight ? 200 : 400, { received: isRight });
  });

function bareExpress(): RequestListener {
  const app = express();
  app.disable('x-powered-by').disable('etag');
  app.post('/customers/:id/wallets/ledger-entries', express.json(), (_request, response) => {
    response.json(ANSWER);
  });
  app.get('/customers/:id/wallets', (_request, response) => {
    response.json({ items: [ANSWER] });
  });
  return app;
}

export type Limit = 'node-http' | 'express' | 'hmac';

const LISTENERS: Readonly<Record<Limit, () => RequestListener>> = {
  'node-http': () => parse,
  express: bareExpress,
  hmac: () => verify,
};

export function startLimit(limit: Limit): Promise<string> {
  const server = createServer(LISTENERS[limit]());
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      resolve(`http://127.0.0.1:${port}`);
    });
  });
}
