import { z } from 'zod';
import { API_TIMEOUT_MS, ProviderApiError } from './api.ts';
import { hasMoreValues } from './json-depth.ts';

/** Lists of a hundred objects take some hundred kilobytes. */
const MAX_ANSWER_BYTES = 20 * 1024 * 1024;
/** A hundred objects have some ten thousand values. A value of three bytes takes fifty once it is parsed. */
const MAX_ANSWER_VALUES = 500_000;
const FIRST_ROOM_BYTES = 64 * 1024;

export interface JsonClientOptions {
  readonly provider: string;
  readonly baseUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  /** {@link API_TIMEOUT_MS} unless said otherwise. */
  readonly timeoutMs: number | undefined;
  /** The form of a 400's body that means that there is no such object, for providers that do not answer 404. */
  readonly notFound?: z.ZodType;
}

/** Reads JSON from a provider's API by GET, for providers without an SDK that tells failures apart. */
export class JsonClient {
  readonly #options: JsonClientOptions;

  constructor(options: JsonClientOptions) {
    this.#options = options;
  }

  /**
   * The answer to a GET of `path` (with its query), or null if there is nothing there (404).
   * @throws {ProviderApiError}
   */
  async get<Schema extends z.ZodType>(path: string, schema: Schema): Promise<z.output<Schema> | null> {
    const { provider, baseUrl, headers } = this.#options;
    const response = await this.#fetch(`${baseUrl}${path}`, headers);
    if (response.ok) return parseAnswer(provider, schema, await readJson(provider, response));
    const isNotFound = await this.#isNotFound(response);
    // A body that has broken off cannot be cancelled, and need not be.
    await response.body?.cancel().catch(() => {});
    if (isNotFound) return null;
    throw errorOfStatus(provider, response.status, response.headers.get('retry-after'));
  }

  async #isNotFound(response: Response): Promise<boolean> {
    const { provider, notFound } = this.#options;
    if (response.status !== 400 || notFound === undefined) return response.status === 404;
    return notFound.safeParse(await readJson(provider, response)).success;
  }

  async #fetch(url: string, headers: Readonly<Record<string, string>>): Promise<Response> {
    try {
      // A redirect could carry the key to somebody else.
      const signal = AbortSignal.timeout(this.#options.timeoutMs ?? API_TIMEOUT_MS);
      return await fetch(url, { headers: { accept: 'application/json', ...headers }, redirect: 'error', signal });
    } catch (error) {
      throw unreachable(this.#options.provider, error);
    }
  }
}

/** The JSON of an answer of bounded size. @throws {ProviderApiError} `unavailable` if it is cut short or no JSON */
export async function readJson(provider: string, response: Response): Promise<unknown> {
  return parseJson(provider, await readBytes(provider, response));
}

/**
 * A `fetch` for SDKs, which themselves take answers of any size and do not check that they are objects. It answers when a whole
 * JSON object has arrived. Anything else is a ProviderApiError, which the SDK wraps in an error of its own. A redirect is a
 * failure, since it could carry the key to somebody else.
 */
export function fetchObjects(provider: string): (url: string | URL | Request, init?: RequestInit) => Promise<Response> {
  return async (url, init) => {
    const response = await fetch(url, { ...init, redirect: 'error' });
    const { ok, status, headers } = response;
    const bytes = await readBytes(provider, response).catch((error: unknown) => {
      if (ok) throw error;
      // Only the status of a failure is used, so its body is not read.
      return Buffer.alloc(0);
    });
    try {
      parseAnswer(provider, z.looseObject({}), parseJson(provider, bytes));
    } catch (error) {
      throw ok ? error : errorOfStatus(provider, status, headers.get('retry-after'));
    }
    return new Response(bytes, { status, headers });
  };
}

/** @throws {ProviderApiError} `unavailable` if it is cut short, `refused` if it is too long */
async function readBytes(provider: string, response: Response): Promise<Buffer<ArrayBuffer>> {
  // Pieces are put together as they come, since many small ones weigh far more than their bytes.
  let room = Buffer.allocUnsafe(FIRST_ROOM_BYTES);
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      const before = bytes;
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) break;
      if (bytes > room.length) {
        const larger = Buffer.allocUnsafe(bytes * 2);
        room.copy(larger, 0, 0, before);
        room = larger;
      }
      room.set(chunk, before);
    }
  } catch (error) {
    throw unreachable(provider, error);
  }
  if (bytes > MAX_ANSWER_BYTES) throw tooMuch(provider);
  return room.subarray(0, bytes);
}

function tooMuch(provider: string): ProviderApiError {
  return new ProviderApiError('refused', `${provider} answers with too much at once`);
}

/** @throws {ProviderApiError} `unavailable` if it is no JSON, `refused` if it has too many values */
function parseJson(provider: string, bytes: Buffer): unknown {
  if (hasMoreValues(bytes, MAX_ANSWER_VALUES)) throw tooMuch(provider);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new ProviderApiError('unavailable', `${provider} does not answer with JSON`);
  }
}

/** The answer as `schema` wants it. @throws {ProviderApiError} `refused`, naming the paths that are wrong */
export function parseAnswer<Schema extends z.ZodType>(
  provider: string,
  schema: Schema,
  body: unknown,
): z.output<Schema> {
  const answer = schema.safeParse(body);
  if (answer.success) return answer.data;
  const paths = answer.error.issues.slice(0, 3).map((issue) => issue.path.join('.') || 'the body');
  throw new ProviderApiError('refused', `${provider} answers in a form we do not know: ${paths.join(', ')}`);
}

/** The error for a status other than 2xx, the same for every provider. `retryAfter` is the header of that name. */
export function errorOfStatus(provider: string, status: number, retryAfter: string | null): ProviderApiError {
  const seconds = /^\d{1,6}$/.test(retryAfter ?? '') ? Number(retryAfter) : null;
  if (status === 429) return new ProviderApiError('rate_limited', `${provider} limits the rate (429)`, seconds);
  if (status === 401 || status === 403) {
    return new ProviderApiError('unauthorized', `${provider} refuses the API key (${status})`);
  }
  if (status >= 500 || status === 408 || status === 409) {
    return new ProviderApiError('unavailable', `${provider} answers ${status}`, seconds);
  }
  return new ProviderApiError('refused', `${provider} answers ${status}`);
}

/** The forms of a timeout: of `AbortSignal.timeout`, of an SDK's own abort, of sockets and of Stripe's SDK. */
const TIMED_OUT = z.union([
  z.object({ name: z.enum(['TimeoutError', 'AbortError']) }),
  z.object({ code: z.literal('ETIMEDOUT') }),
]);

/** A connection that failed or was given up. */
export function unreachable(provider: string, error: unknown): ProviderApiError {
  const problem = TIMED_OUT.safeParse(error).success ? 'does not answer in time' : 'cannot be reached';
  return new ProviderApiError('unavailable', `${provider} ${problem}`);
}

/** Whether an id can be used in a path unchanged. Providers make no other ids, so any other id does not exist. */
export function isPathId(id: string): boolean {
  return /^[\w-]+$/.test(id);
}
