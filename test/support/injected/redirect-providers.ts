/**
 * Loaded into a merchant's process by `--import` (../injection.ts): what official packages send to a provider goes to the
 * double of its name in PROVIDER_DOUBLES, in the clear.
 */
import http, { type RequestOptions } from 'node:http';
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';

const doubles = new Map<string, string>(Object.entries(JSON.parse(process.env.PROVIDER_DOUBLES ?? '{}')));

function doubleOf(host: string): URL {
  const url = doubles.get(host);
  if (url === undefined) throw new Error(`no provider of the test is asked: ${host}`);
  return new URL(url);
}

// The packages of Stripe and Razorpay.
Object.assign(https, {
  request(options: RequestOptions, onAnswer?: (answer: http.IncomingMessage) => void) {
    const { hostname, port } = doubleOf(String(options.hostname ?? options.host));
    const {
      agent: _,
      agents: _agents,
      protocol: _protocol,
      ...rest
    } = options as RequestOptions & { agents?: unknown };
    return http.request({ ...rest, protocol: 'http:', host: hostname, hostname, port }, onAnswer);
  },
});
syncBuiltinESMExports();

// The package of Dodo, which also asks Chokin.
const { fetch } = globalThis;
globalThis.fetch = (input, init) => {
  const asked = new URL(input instanceof Request ? input.url : String(input));
  if (asked.hostname === '127.0.0.1') return fetch(input, init);
  const { origin } = doubleOf(asked.hostname);
  return fetch(`${origin}${asked.pathname}${asked.search}`, init);
};
