import type { RequestListener } from 'node:http';
import { invariant } from '../../errors.ts';
import { forwardedAddress } from './address.ts';
import type { Route } from './route.ts';
import type { Visit } from './serve.ts';

/** Ids as they are made, which nothing has to be decoded of. */
const OF_CUSTOMER = /^\/customers\/([A-Za-z0-9_-]{1,100})\/(wallets(?:\/ledger-entries)?|checkouts\/quote)$/;
/** A new hold, or the capture of one. */
const HOLDS = /^\/customers\/([A-Za-z0-9_-]{1,100})\/wallets\/holds(?:\/([A-Za-z0-9_-]{1,150})\/capture)?$/;
/** Whether there is such a provider, and such a source, the route says. */
const WEBHOOK = /^\/webhooks\/([a-z]{1,100})(?:\/([A-Za-z0-9_-]{1,100}))?$/;

interface FrontOptions {
  /** What answers everything else: Express. */
  readonly app: RequestListener;
  /** Proxies in front of us, each of which names whom it heard. */
  readonly proxies: number;
  readonly routes: readonly Route[];
  /** What is done for every request before its route is looked for. */
  readonly begin: (visit: Visit) => void;
  readonly respond: (route: Route, visit: Visit) => Promise<void>;
  /** What is done where even that fails. */
  readonly fail: (visit: Visit, error: unknown) => void;
}

/**
 * Answers the busiest routes, a new entry, hold or capture, a customer's wallets, a quote and providers' deliveries, without the way through all
 * that Express asks first. It does the same for them in the same order, from the same table; every other request, and every other form of these, is Express' own.
 */
export function createFront({ app, proxies, routes, begin, respond, fail }: FrontOptions): RequestListener {
  const find = (method: Route['method'], path: string): Route => {
    const route = routes.find((one) => one.method === method && one.path === path);
    invariant(route !== undefined, `there is no route ${method} ${path}`);
    return route;
  };
  const ofCustomer: Readonly<Record<string, Route>> = {
    wallets: find('get', '/customers/{customer_id}/wallets'),
    'wallets/ledger-entries': find('post', '/customers/{customer_id}/wallets/ledger-entries'),
    'checkouts/quote': find('post', '/customers/{customer_id}/checkouts/quote'),
  };
  const hold = find('post', '/customers/{customer_id}/wallets/holds');
  const capture = find('post', '/customers/{customer_id}/wallets/holds/{hold_id}/capture');
  const deliver = find('post', '/webhooks/{provider}');
  const deliverToSource = find('post', '/webhooks/{provider}/{source_id}');
  const hot = (method: string | undefined, url: string): Hot | null => {
    if (method !== 'GET' && method !== 'POST') return null;
    const [, customerId, place] = OF_CUSTOMER.exec(url) ?? [];
    if (customerId !== undefined && place !== undefined) {
      const route = ofCustomer[place];
      const isOf = route?.method === (method === 'GET' ? 'get' : 'post');
      return isOf ? { route, params: { customer_id: customerId } } : null;
    }
    if (method === 'GET') return null;
    const [, holder, holdId] = HOLDS.exec(url) ?? [];
    if (holder !== undefined) {
      const customer = { customer_id: holder };
      return holdId === undefined
        ? { route: hold, params: customer }
        : { route: capture, params: { ...customer, hold_id: holdId } };
    }
    const [, provider, sourceId] = WEBHOOK.exec(url) ?? [];
    if (provider === undefined) return null;
    if (sourceId === undefined) return { route: deliver, params: { provider } };
    return { route: deliverToSource, params: { provider, source_id: sourceId } };
  };
  return (request, response) => {
    const found = hot(request.method, request.url ?? '');
    if (found === null) {
      app(request, response);
      return;
    }
    const address = forwardedAddress(request, proxies);
    const visit = { request, response, address, params: found.params, query: NO_QUERY };
    begin(visit);
    respond(found.route, visit)
      .catch((error: unknown) => fail(visit, error))
      // As Express does at the end. A rejection that nobody takes would end the process.
      .catch(() => response.destroy());
  };
}

/** None of these has one: with a question mark it is Express' own. */
const NO_QUERY = {};

interface Hot {
  readonly route: Route;
  readonly params: Record<string, string>;
}
