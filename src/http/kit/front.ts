import type { RequestListener } from 'node:http';
import type { Express, Request, Response } from 'express';
import { invariant } from '../../errors.ts';
import type { Route } from './route.ts';

/** Ids as they are made, which nothing has to be decoded of. */
const HOT_PATH = /^\/customers\/([A-Za-z0-9_-]{1,100})\/wallets(\/ledger-entries)?$/;

interface FrontOptions {
  readonly app: Express;
  readonly routes: readonly Route[];
  /** What is done for every request before its route is looked for. */
  readonly begin: (request: Request, response: Response) => void;
  readonly respond: (route: Route, request: Request, response: Response) => Promise<void>;
  /** What is done where even that fails. */
  readonly fail: (request: Request, response: Response, error: unknown) => void;
}

/**
 * Answers the two busiest routes, a new entry and a customer's wallets, without the way through all that Express asks first. It does the same
 * for them in the same order, from the same table; every other request, and every other form of these, is Express' own.
 */
export function createFront({ app, routes, begin, respond, fail }: FrontOptions): RequestListener {
  const find = (method: Route['method'], path: string): Route => {
    const route = routes.find((one) => one.method === method && one.path === path);
    invariant(route !== undefined, `there is no route ${method} ${path}`);
    return route;
  };
  const read = find('get', '/customers/{customer_id}/wallets');
  const write = find('post', '/customers/{customer_id}/wallets/ledger-entries');
  return (message, answer) => {
    const { method, url = '' } = message;
    const match = method === 'POST' || method === 'GET' ? HOT_PATH.exec(url) : null;
    const route = match?.[2] === undefined ? read : write;
    if (match === null || method !== (route === read ? 'GET' : 'POST')) {
      app(message, answer);
      return;
    }
    // What Express makes of a request first: `ip`, by whom it trusts, and `query` are its own.
    const request: Request = Object.setPrototypeOf(message, app.request);
    const response: Response = Object.setPrototypeOf(answer, app.response);
    request.res = response;
    request.params = { customer_id: match[1] ?? '' };
    begin(request, response);
    respond(route, request, response)
      .catch((error: unknown) => fail(request, response, error))
      // As Express does at the end. A rejection that nobody takes would end the process.
      .catch(() => response.destroy());
  };
}
