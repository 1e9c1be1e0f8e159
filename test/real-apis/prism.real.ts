import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/crypto/secret.ts';
import { PROVIDER_APIS } from '../../src/providers/apis.ts';
import { type Listed, type ListedKind, type ProviderApi, ProviderApiError } from '../../src/providers/shared/api.ts';
import { RecordingProxy } from '../support/recording-proxy.ts';
import { SEEDED, SEEDED_AT } from '../support/seeded-doubles.ts';
import { DESCRIBED, type Described } from './described.ts';
import { type Description, readDescription } from './description.ts';
import { startTool } from './tool.ts';

/**
 * Providers' published OpenAPI descriptions against us, by Prism: as a proxy before our double it validates what we send
 * and what the double answers, as a mock it answers our client itself. For each provider whose file is named in the
 * environment.
 */

const PRISM_PACKAGE = join(import.meta.dirname, 'prism/package.json');
const PRISM = join(dirname(createRequire(PRISM_PACKAGE).resolve('@stoplight/prism-cli/package.json')), 'dist/index.js');
const DAY_MS = 86_400_000;
const WINDOW = { since: new Date(SEEDED_AT.getTime() - DAY_MS), until: new Date(SEEDED_AT.getTime() + DAY_MS) };

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});

/** Prism refuses what violates the description, on either side, instead of noting it. */
async function startPrism(...command: readonly string[]): Promise<string> {
  const args = [PRISM, ...command, '--errors', '--port', '0', '--host', '127.0.0.1'];
  const prism = await startTool(process.execPath, args, /Prism is listening on (\S+)/);
  open.push({ close: () => prism.stop() });
  return prism.found;
}

async function record(upstream: string, headers: Readonly<Record<string, string>> = {}): Promise<RecordingProxy> {
  const proxy = await RecordingProxy.start(upstream, headers);
  open.push(proxy);
  return proxy;
}

function doubleOf({ name }: Described) {
  const double = SEEDED.find((one) => one.name === name);
  const connect = PROVIDER_APIS[name];
  if (double === undefined || connect === undefined) throw new Error(`no double of ${name}`);
  const connectTo = (baseUrl: string) => connect({ apiKey: new Secret(double.apiKey), mode: 'test', baseUrl });
  return { double, connectTo };
}

async function listAll(api: ProviderApi, kind: ListedKind): Promise<readonly Listed[]> {
  const listed: Listed[] = [];
  let cursor: string | null = null;
  do {
    const page = await api.list(kind, WINDOW, cursor);
    listed.push(...page.listed);
    cursor = page.next;
  } while (cursor !== null);
  return listed;
}

/** What a violation does to the client is no news: the proxy has noted the violation. */
async function noted(asked: Promise<unknown>): Promise<void> {
  await asked.catch((error: unknown) => {
    if (!(error instanceof ProviderApiError)) throw error;
  });
}

function expectNoViolation({ exchanges }: RecordingProxy, description: Description): void {
  const refused = exchanges.flatMap(({ path, status, answer, answerHeaders }) => {
    const violations = answerHeaders.get('sl-violations');
    return status < 400 && violations === null ? [] : [`${path}: ${status} ${violations ?? answer}`];
  });
  expect(refused).toEqual([]);
  expect(exchanges.flatMap(({ path }) => description.unknownParameters(path))).toEqual([]);
  expect(exchanges).not.toEqual([]);
}

const named = DESCRIBED.flatMap((one) => {
  const file = process.env[one.variable];
  return file === undefined ? [] : [{ ...one, file }];
});

describe.each(named)('$name', (described) => {
  it('describes what we send and what our double answers', async () => {
    const description = await readDescription(described.file, described.routes);
    const { double, connectTo } = doubleOf(described);
    const server = await double.start();
    open.push(server);
    const proxy = await record(await startPrism('proxy', description.file, server.url));
    const api = connectTo(proxy.url);
    for (const kind of api.kinds) {
      await noted(listAll(api, kind));
      const listed = await listAll(connectTo(server.url), kind);
      expect(listed, kind).not.toEqual([]);
      for (const { objectId } of listed) await noted(api.retrieve(kind, objectId));
    }
    expectNoViolation(proxy, description);
    console.log(`${described.name} ${description.version}: ${proxy.exchanges.length} requests and answers`);
  });

  const examples = [['examples', {}]] as const;
  const randomly = [['random values', { prefer: 'dynamic=true' }]] as const;
  it.each([...examples, ...(described.isRandomisable ? randomly : [])])(
    'is read by our client, in %s',
    async (...how) => {
      const description = await readDescription(described.file, described.routes);
      const proxy = await record(await startPrism('mock', description.file), how[1]);
      const api = doubleOf(described).connectTo(proxy.url);
      for (const kind of api.kinds) {
        expect(await api.list(kind, WINDOW, null)).toMatchObject({ listed: expect.any(Array) });
        await api.retrieve(kind, described.ids[kind]);
      }
      expectNoViolation(proxy, description);
    },
  );
});
