import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { eventsToSettle, startTestWorker } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import type { RawAnswer } from './openapi-operations.ts';
import { RawHttp } from './raw-http.ts';
import {
  ADAPTERS,
  ALL_SOURCES,
  PAID_MINOR,
  providerOf,
  SIGNED_PROVIDERS,
  type SignedProvider,
  signed,
} from './signed-providers.ts';

/** Fault F19 over real HTTP: what is not exactly what the provider signed is refused, nothing of it is stored, nothing told. */

const REFUSED = '{"code":"INVALID_SIGNATURE","message":"The signature is not valid. The service\'s log says why."}\n';

let app: TestApp;
let worker: Worker;
let http: RawHttp;

beforeAll(async () => {
  app = await startTestApp({ environment: ALL_SOURCES, providers: ADAPTERS });
  worker = await startTestWorker(app, ALL_SOURCES);
  http = new RawHttp(app.baseURL);
});
afterAll(async () => {
  http.close();
  await worker.close();
  await app.close();
});

function deliver(
  one: SignedProvider,
  body: string | Buffer,
  headers: Readonly<Record<string, string>>,
): Promise<RawAnswer> {
  return http.send({ method: 'POST', path: `/webhooks/${one.provider}`, headers, body });
}

function expectRefused({ status, text }: RawAnswer): void {
  expect({ status, text }).toEqual({ status: 401, text: REFUSED });
}

/** What there is of an event: its row, and the job that would apply it. */
async function stored(): Promise<unknown> {
  const { rows } = await app.database.pool.query(
    `select (select count(*)::int from provider_event) as events,
       (select count(*)::int from pgboss.job where name in ('apply-provider-event', 'apply-provider-events')) as jobs`,
  );
  return rows[0];
}

async function expectNothingStored(work: () => Promise<void>): Promise<void> {
  const before = await stored();
  await work();
  expect(await stored()).toEqual(before);
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

/** What HTTP can carry in a header's value; the rest never gets as far as us. */
const canBeSent = (value: string) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value);

/** Some 150 of the places where one bit may be flipped. */
const anyBitOf = (byteLength: number) => fc.nat(byteLength * 8 - 1);

describe.each(SIGNED_PROVIDERS.filter(({ sign }) => sign !== null))('$provider', (one) => {
  const body = one.payment('cus_nobody', 'pay_flipped');
  const bytes = Buffer.from(body);

  it('refuses a body with any bit flipped', async () => {
    const headers = signed(one, body);
    await expectNothingStored(() =>
      fc.assert(
        fc.asyncProperty(anyBitOf(bytes.length), async (bit) =>
          expectRefused(await deliver(one, flipped(bytes, bit), headers)),
        ),
        { numRuns: 150 },
      ),
    );
  });

  it.each(one.covered)('refuses %s with any bit flipped, and without it', async (name) => {
    const headers = signed(one, body);
    const value = Buffer.from(headers[name] ?? '', 'latin1');
    await expectNothingStored(async () => {
      await fc.assert(
        fc.asyncProperty(anyBitOf(value.length), async (bit) => {
          const changed = flipped(value, bit).toString('latin1');
          fc.pre(canBeSent(changed));
          expectRefused(await deliver(one, body, { ...headers, [name]: changed }));
        }),
        { numRuns: 150 },
      );
      const { [name]: _gone, ...others } = headers;
      expectRefused(await deliver(one, body, others));
      expectRefused(await deliver(one, body, { ...headers, [name]: '' }));
    });
  });

  it('refuses a body cut off, made longer, or empty', async () => {
    const headers = signed(one, body);
    await expectNothingStored(async () => {
      for (const other of [body.slice(0, -1), `${body} `, ` ${body}`, `${body}\n`, `\ufeff${body}`, '', '{}']) {
        expectRefused(await deliver(one, other, headers));
      }
    });
  });

  it('refuses the signature of another body, and a signature of long ago or of the time to come', async () => {
    const other = one.payment('cus_nobody', 'pay_other');
    const refusedAges = isTimeSigned(one) ? [-5 * 86_400, 301 + 30] : [];
    await expectNothingStored(async () => {
      expectRefused(await deliver(one, body, signed(one, other)));
      for (const age of refusedAges) {
        const at = Math.floor(Date.now() / 1000) + age;
        expectRefused(await deliver(one, body, one.sign?.(body, at) ?? {}));
      }
    });
  });
});

/** Razorpay and Lemon Squeezy sign no time. */
function isTimeSigned({ provider }: SignedProvider): boolean {
  return provider !== 'razorpay' && provider !== 'lemonsqueezy';
}

describe('adyen, which signs some fields and not the body', () => {
  const adyen = providerOf('adyen');

  /** The bytes of what a field holds, quotes left out. */
  function placeOf(body: string, field: string): { start: number; end: number } {
    const found = new RegExp(`"${field}":"?([^",}]*)`).exec(body);
    if (found?.[1] === undefined || found[1] === '') throw new Error(`the delivery has no ${field}`);
    const start = found.index + found[0].length - found[1].length;
    return { start, end: start + found[1].length };
  }

  it.each([
    'pspReference',
    'merchantAccountCode',
    'merchantReference',
    'value',
    'currency',
    'eventCode',
    'success',
    'hmacSignature',
  ])('refuses %s with any bit flipped', async (field) => {
    const body = adyen.payment('cus_nobody', 'pay_flipped');
    const { start, end } = placeOf(body, field);
    await expectNothingStored(async () => {
      for (let bit = start * 8; bit < end * 8; bit += 1) {
        expectRefused(await deliver(adyen, flipped(Buffer.from(body), bit), signed(adyen, body)));
      }
    });
  });

  it('whatever is flipped elsewhere, the wallet is credited once, and no other', async () => {
    const customerId = await app.newCustomer();
    const body = adyen.payment(customerId, 'pay_elsewhere');
    const bytes = Buffer.from(body);
    await fc.assert(
      fc.asyncProperty(anyBitOf(bytes.length), async (bit) => {
        const { status, text } = await deliver(adyen, flipped(bytes, bit), signed(adyen, body));
        expect([200, 401]).toContain(status);
        if (status === 401) expect(text).toBe(REFUSED);
      }),
      { numRuns: 300 },
    );
    expect((await deliver(adyen, body, signed(adyen, body))).status).toBe(200);
    await eventsToSettle(app);
    expect(await entriesOf(customerId)).toEqual([{ amount: PAID_MINOR, currency: 'USD', is_credit: true }]);
  });
});

async function entriesOf(customerId: string): Promise<unknown> {
  const { rows } = await app.database.pool.query(
    'select amount::int as amount, currency, is_credit from entry where customer_id = $1',
    [customerId],
  );
  return rows;
}

describe('a delivery that somebody sends again while its signature is good', () => {
  it.each(SIGNED_PROVIDERS)('of $provider is one event and one credit', async (one) => {
    const customerId = await app.newCustomer();
    const body = one.payment(customerId, `pay_replayed_${one.provider}`);
    const headers = signed(one, body);
    const events = async () => {
      const { rows } = await app.database.pool.query(
        'select state, count(*)::int as count from provider_event where provider = $1 and position($2::bytea in body) > 0 group by 1',
        [one.provider, Buffer.from(customerId)],
      );
      return rows;
    };
    const replay = async () => {
      const copies = Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? headers : { ...headers, ...one.uncovered }));
      const answers = await Promise.all(copies.map((copy) => deliver(one, body, copy)));
      expect(answers.map(({ status, text }) => `${status} ${text}`)).toEqual(
        copies.map(() => '200 {"received":true}\n'),
      );
    };
    await replay();
    await eventsToSettle(app);
    await replay();
    await eventsToSettle(app);
    expect(await events()).toEqual([{ state: 'applied', count: 1 }]);
    expect(await entriesOf(customerId)).toEqual([{ amount: PAID_MINOR, currency: one.currency, is_credit: true }]);
  });

  it('and the books agree', async () => {
    await expectBooksToAgree(app.database.pool);
  });
});
