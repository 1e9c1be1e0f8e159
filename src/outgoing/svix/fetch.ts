import { Agent, request } from 'undici';

/** All connections to Svix. */
export const svixAgent = new Agent();

/**
 * `fetch` as far as Svix's SDK uses it: texts as bodies, no redirects. Node's own `fetch` passes every body through streams,
 * which costs more CPU than the rest of a call.
 * @throws {TypeError} with the cause, if there is no answer
 * @throws {unknown} the signal's reason, as `fetch` does
 */
export const svixFetch: typeof fetch = async (url, { method = 'GET', headers, body, signal } = {}) => {
  try {
    const answer = await request(String(url), {
      dispatcher: svixAgent,
      method,
      headers: Object.fromEntries(new Headers(headers)),
      body: typeof body === 'string' ? body : null,
      signal: signal ?? null,
    });
    const text = await answer.body.text();
    return new Response(text === '' ? null : text, { status: answer.statusCode, headers: toHeaders(answer.headers) });
  } catch (error) {
    throw signal?.aborted ? signal.reason : new TypeError('fetch failed', { cause: error });
  }
};

/** An answer's headers, each as one text. */
export function toHeaders(answered: Readonly<Record<string, string | readonly string[] | undefined>>): Headers {
  return new Headers(Object.entries(answered).map(([name, value]): [string, string] => [name, String(value)]));
}
