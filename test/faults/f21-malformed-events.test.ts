import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { RawJson, toJsonText } from '../security/json-schema-values.ts';
import { RawHttp } from '../security/raw-http.ts';
import {
  ADAPTERS,
  ALL_SOURCES,
  PAID_MINOR,
  SIGNED_PROVIDERS,
  type SignedProvider,
} from '../security/signed-providers.ts';
import { eventsToSettle, startTestWorker } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { ADYEN_HEADERS, signAdyen } from '../support/signing-paypal-adyen-cashfree.ts';
import { eventually } from '../support/wait.ts';

/**
 * F21: bodies that the provider did sign, and that are not as documented, over real HTTP with a worker running. Each is
 * stored and settled or refused; it is never a 5xx, and the good event behind it is not held up.
 */

const SEED = Number(process.env.SEED ?? 20_261_122);
/** Far below the first retry of a job (2 s): what had to wait for a poison event would come later. */
const PROMPT_MS = 1_500;

let app: TestApp;
let worker: Worker;
let http: RawHttp;
let customerId: string;
let goodEvents = 0;

beforeAll(async () => {
  // An odd value may leave the payment of an order without a name, which otherwise would be waited for.
  const environment = { ...ALL_SOURCES, NAMING_WAIT_SECONDS: '0' };
  app = await startTestApp({ environment, providers: ADAPTERS });
  worker = await startTestWorker(app, environment);
  http = new RawHttp(app.baseURL);
  customerId = await app.newCustomer();
});
afterAll(async () => {
  http.close();
  await worker.close();
  await app.close();
});

type Headers = Readonly<Record<string, string>>;

async function deliver(
  { provider }: Pick<SignedProvider, 'provider'>,
  body: Buffer | string,
  headers: Headers,
): Promise<number> {
  const { status, text } = await http.send({ method: 'POST', path: `/webhooks/${provider}`, headers, body });
  expect([200, 401], `${status} ${text}`).toContain(status);
  return status;
}

/** The next event of any provider, which is in order, is applied as if nothing had been. */
async function expectGoodEventToBeApplied(): Promise<void> {
  const body = stripePaymentSucceeded({ amount: 1, currency: 'usd', metadata: { wallet_customer_id: customerId } });
  expect(await deliver({ provider: 'stripe' }, body, signStripe(body))).toBe(200);
  goodEvents += 1;
  await eventually(
    'the good event behind it to be applied',
    async () => {
      const { rows } = await app.database.pool.query(
        'select balance::int from wallet where customer_id = $1 and currency = $2',
        [customerId, 'USD'],
      );
      return rows[0].balance === goodEvents;
    },
    PROMPT_MS,
  );
}

const withField = (body: string, json: string) => Buffer.from(body.replace('{', `{"odd":${json},`));
const inserted = (body: string, bytes: readonly number[]) =>
  Buffer.concat([Buffer.from('{"odd":"'), Buffer.from(bytes), Buffer.from('",'), Buffer.from(body.slice(1))]);

/** Bodies made of a good one. */
const BODIES: readonly (readonly [string, (good: string) => Buffer])[] = [
  ['nothing', () => Buffer.alloc(0)],
  ['a blank', () => Buffer.from(' ')],
  ['words', () => Buffer.from('not JSON')],
  ['a form', () => Buffer.from('payload=%7B%7D')],
  ['XML', () => Buffer.from('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')],
  ...['null', '0', '"text"', '[]', '{}', '[[]]', 'true', '1e400'].map(
    (text) => [text, () => Buffer.from(text)] as const,
  ),
  ['the start of one', (good) => Buffer.from(good.slice(0, -5))],
  ['one and more', (good) => Buffer.from(`${good}{}`)],
  ['two, one behind the other', (good) => Buffer.from(`${good}\n${good}`)],
  ['a byte-order mark', (good) => Buffer.from(`\ufeff${good}`)],
  ['UTF-16', (good) => Buffer.from(good, 'utf16le')],
  ['bytes that are not UTF-8', (good) => inserted(good, [0xff, 0xfe])],
  ['half a surrogate pair in bytes', (good) => inserted(good, [0xed, 0xa0, 0x80])],
  ['an overlong slash', (good) => inserted(good, [0xc0, 0xaf])],
  ['NUL in bytes', (good) => inserted(good, [0])],
  ['NUL, escaped', (good) => withField(good, '"a\\u0000b"')],
  ['half a surrogate pair, escaped', (good) => withField(good, '"\\ud800"')],
  ['a name of NUL', (good) => Buffer.from(good.replace('{', '{"\\u0000":1,'))],
  ['20,000 brackets', (good) => withField(good, `${'['.repeat(20_000)}${']'.repeat(20_000)}`)],
  ['20,000 brackets left open', (good) => withField(good, '['.repeat(20_000))],
  ['a number beyond any', (good) => withField(good, '1e400')],
  ['a number of 100,000 digits', (good) => withField(good, '9'.repeat(100_000))],
  ['a text of 900 kB', (good) => withField(good, `"${'x'.repeat(900_000)}"`)],
  ['100,000 fields', (good) => withField(good, `{${Array.from({ length: 60_000 }, (_, n) => `"k${n}":0`).join(',')}}`)],
  ['a prototype', (good) => Buffer.from(good.replace('{', '{"__proto__":{"type":"x"},'))],
  ['everything twice', (good) => Buffer.from(`${good.slice(0, -1)},${good.slice(1)}`)],
];

const ofBytes = SIGNED_PROVIDERS.filter(({ signBytes }) => signBytes !== null);

describe.each(ofBytes)('$provider', (one) => {
  it.each(BODIES)('%s', async (name, make) => {
    const body = make(one.payment('cus_nobody', `pay_${name}`));
    await deliver(one, body, one.signBytes?.(body) ?? {});
    await expectGoodEventToBeApplied();
  });
});

type Path = readonly string[];

function pathsOf(value: unknown): Path[] {
  if (typeof value !== 'object' || value === null) return [[]];
  return [[], ...Object.entries(value).flatMap(([name, inner]) => pathsOf(inner).map((path) => [name, ...path]))];
}

function replaced(value: unknown, [name, ...rest]: Path, replacement: unknown): unknown {
  if (name === undefined) return replacement;
  if (Array.isArray(value))
    return value.map((item, n) => (String(n) === name ? replaced(item, rest, replacement) : item));
  const inner: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  return { ...(typeof value === 'object' ? value : {}), [name]: replaced(inner, rest, replacement) };
}

const ODD_VALUES: readonly unknown[] = [
  undefined,
  null,
  true,
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  '\u202e',
  '700\n',
  '__proto__',
  'x'.repeat(10_000),
  0,
  -1,
  0.5,
  [],
  {},
  [[]],
  { toString: null },
  ...['1e400', '-0.0', '9007199254740993', '123456789012345678901234567890', '1e-400', '{"__proto__":1}'].map(
    (text) => new RawJson(text),
  ),
];

/** With the signature of whoever holds the secret. Adyen's is over what its items hold, as far as they still do. */
function signedText(one: SignedProvider, value: unknown): { body: string; headers: Headers } {
  const body = toJsonText(value);
  if (one.sign !== null) return { body, headers: one.sign(body) };
  try {
    return { body: signAdyen(JSON.parse(body)), headers: ADYEN_HEADERS };
  } catch {
    return { body, headers: ADYEN_HEADERS };
  }
}

describe.each(SIGNED_PROVIDERS)('$provider: any odd value in any place of a payment', (one) => {
  it('is stored and settled, or refused', async () => {
    const good = JSON.parse(one.payment('cus_nobody', 'pay_odd'));
    const odd = fc.record({ path: fc.constantFrom(...pathsOf(good)), value: fc.constantFrom(...ODD_VALUES) });
    const several = fc.array(odd, { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(several, async (changes) => {
        for (const { path, value } of changes) {
          const { body, headers } = signedText(one, replaced(good, path, value));
          await deliver(one, body, headers);
        }
        await expectGoodEventToBeApplied();
      }),
      { seed: SEED, numRuns: rounds(10, 60) },
    );
  });
});

describe('an amount beyond 2^53, which JSON.parse would round', () => {
  it.each(SIGNED_PROVIDERS)('of $provider is parked and credits nobody', async (one) => {
    const owner = await app.newCustomer();
    const good = JSON.parse(one.payment(owner, `pay_huge_${one.provider}`));
    const amounts = pathsOf(good).filter((path) => isAmount(path.reduce(within, good)));
    expect(amounts).not.toEqual([]);
    const huge = amounts.reduce((body, path) => replaced(body, path, hugeLike(path.reduce(within, good))), good);
    const { body, headers } = signedText(one, huge);
    expect(await deliver(one, body, headers)).toBe(200);
    await eventsToSettle(app);
    const { rows } = await app.database.pool.query(
      'select state, reason is not null as has_reason from provider_event where body = $1',
      [Buffer.from(body)],
    );
    expect(rows).toEqual([{ state: 'parked', has_reason: true }]);
    const { rowCount } = await app.database.pool.query('select 1 from entry where customer_id = $1', [owner]);
    expect(rowCount).toBe(0);
    await expectGoodEventToBeApplied();
  });

  const HUGE = '9007199254740993';
  const within = (value: unknown, name: string): unknown => Reflect.get(Object(value), name);
  const isAmount = (value: unknown) => [PAID_MINOR, PAID_MINOR / 100].includes(Number(value)) && value !== null;
  const hugeLike = (value: unknown) => (typeof value === 'string' ? HUGE : new RawJson(HUGE));
});

describe('the type of the content', () => {
  it.each([
    ['none', {}],
    ['text', { 'content-type': 'text/plain' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['another character set', { 'content-type': 'application/json; charset=utf-16' }],
    ['several parts', { 'content-type': 'multipart/form-data; boundary=x' }],
    ['no type at all', { 'content-type': '\xff/;;=' }],
  ])('%s: the bytes were signed, and count', async (name, type) => {
    const owner = await app.newCustomer();
    for (const one of SIGNED_PROVIDERS) {
      const body = one.payment(owner, `pay_type_${one.provider}_${name.replaceAll(' ', '')}`);
      const { 'content-type': _, ...headers } = one.sign?.(body) ?? ADYEN_HEADERS;
      expect(await deliver(one, body, { ...headers, ...type })).toBe(200);
    }
    await eventsToSettle(app);
    const { rows } = await app.database.pool.query('select amount::int from entry where customer_id = $1', [owner]);
    expect(rows).toEqual(SIGNED_PROVIDERS.map(() => ({ amount: PAID_MINOR })));
    await expectGoodEventToBeApplied();
  });
});

describe('in the end', () => {
  it('every event is settled at its first try, each for a reason, and the books agree', async () => {
    await eventsToSettle(app);
    const { rows } = await app.database.pool.query(
      `select count(*)::int as n, count(*) filter (where reason = 'apply_failed')::int as failed,
         count(*) filter (where state not in ('applied', 'ignored', 'parked') or (state = 'parked') <> (reason is not null))::int as unsettled
       from provider_event`,
    );
    expect(rows[0].n).toBeGreaterThan(600);
    expect(rows[0]).toMatchObject({ failed: 0, unsettled: 0 });
    const jobs = await app.database.pool.query(
      "select name, state, retry_count from pgboss.job where name like 'apply-provider-event%' and (state <> 'completed' or retry_count > 0)",
    );
    expect(jobs.rows).toEqual([]);
    await expectBooksToAgree(app.database.pool);
  });
});
