import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { SVIX_TOKEN, SvixServer } from '../svix-server.ts';
import { eventually } from '../wait.ts';

export interface SvixAnswer {
  readonly status: number;
  /** Null where nothing came. */
  readonly body: unknown;
}

/**
 * A Svix to test against: the double, or a real server. What a suite makes there carries names of its own, for a real
 * server may hold anything.
 */
export interface SvixUnderTest {
  readonly name: string;
  readonly url: string;
  readonly token: string;
  readonly double: SvixServer | null;
  /** A name that nothing else has. */
  unique(what: string): string;
  request(
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<SvixAnswer>;
  /** Waits until a message has so many attempts, and gives them, the newest first. */
  attemptsOf(application: string, message: string, count: number): Promise<readonly SvixAttempt[]>;
  close(): Promise<void>;
}

const attempt = z.looseObject({
  id: z.string(),
  msgId: z.string(),
  endpointId: z.string(),
  statusText: z.string(),
  responseStatusCode: z.number(),
  response: z.string(),
  triggerType: z.number(),
});
type SvixAttempt = z.infer<typeof attempt>;

const settings = z.object({
  SVIX_UNDER_TEST: z.enum(['double', 'real']).default('double'),
  SVIX_SERVER_URL: z.url().optional(),
  SVIX_TOKEN: z.string().optional(),
});

/** The Svixes that suites run on: the double, and under `npm run test:svix` the real server too. */
export function svixesUnderTest(): readonly { readonly name: string; start(): Promise<SvixUnderTest> }[] {
  const { SVIX_UNDER_TEST, SVIX_SERVER_URL: url, SVIX_TOKEN: token } = settings.parse(process.env);
  const double = { name: 'the double', start: startDouble };
  if (SVIX_UNDER_TEST === 'double' || url === undefined || token === undefined) return [double];
  return [double, { name: 'a real Svix server', start: async () => underTest('a real Svix server', url, token, null) }];
}

async function startDouble(): Promise<SvixUnderTest> {
  const double = await SvixServer.start();
  return underTest('the double', double.url, SVIX_TOKEN, double);
}

function underTest(name: string, url: string, token: string, double: SvixServer | null): SvixUnderTest {
  const run = randomUUID().slice(0, 8);
  const request: SvixUnderTest['request'] = async (method, path, body, headers = {}) => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? null : JSON.parse(text) };
  };
  return {
    name,
    url,
    token,
    double,
    unique: (what) => `${what}.${run}.${randomUUID().slice(0, 8)}`,
    request,
    attemptsOf: async (application, message, count) => {
      let found: readonly SvixAttempt[] = [];
      await eventually(`${count} attempts of ${message}`, async () => {
        const { body } = await request('GET', `/app/${application}/attempt/msg/${message}`);
        found = z.object({ data: z.array(attempt) }).parse(body).data;
        return found.length >= count;
      });
      return found;
    },
    close: async () => double?.close(),
  };
}
