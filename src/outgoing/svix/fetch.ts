import { Agent, request } from 'undici';

const agent = new Agent();

/**
 * `fetch` as far as Svix's SDK uses it: text there and back, no redirects. The one built into Node passes every body through
 * streams, which costs a third of all that a worker does for a message (`test/bench/README.md`).
 * @throws TypeError with the cause if there is no answer, or the signal's reason, as `fetch` does
 */
export const svixFetch: typeof fetch = async (url, { method = 'GET', headers, body, signal } = {}) => {
  try {
    const answer = await request(String(url), {
      dispatcher: agent,
      method,
      headers: Object.fromEntries(new Headers(headers)),
      body: typeof body === 'string' ? body : null,
      signal: signal ?? null,
    });
    const text = await answer.body.text();
    const answered = Object.entries(answer.headers).map(([name, value]): [string, string] => [name, String(value)]);
    return new Response(text === '' ? null : text, { status: answer.statusCode, headers: answered });
  } catch (error) {
    throw signal?.aborted ? signal.reason : new TypeError('fetch failed', { cause: error });
  }
};
