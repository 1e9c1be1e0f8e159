import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { UnreadableSecretError } from '../../src/crypto/secret-box.ts';
import { ReadTooSlowError } from '../../src/db/readers.ts';
import { ERROR_GUIDE } from '../../src/http/kit/error-guide.ts';
import { failureOf, replyTo } from '../../src/http/kit/failure.ts';
import type { ErrorCode } from '../../src/views/error-status.ts';
import { EXAMPLE } from '../../src/views/examples.ts';
import { publicRefusal } from '../../src/views/refusals.ts';
import { bearer, newSecretOf, operatorOf, sourcesPath } from '../support/admin.ts';
import { ADMIN_KEY, type Answer, startTestApp, type TestApp } from '../support/app.ts';

/** What `/docs` shows for each error is what the service says. */

let app: TestApp;
let customerId: string;

beforeAll(async () => {
  app = await startTestApp();
  customerId = await app.newCustomer();
});
afterAll(() => app.close());

const MAX = Number.MAX_SAFE_INTEGER;

/** An entry in a wallet of its own currency that no other case writes to. */
const post = (body: object, headers: Record<string, string> = {}) =>
  app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, { entry_type: 'credit', ...body }, headers);

async function twice(first: object, second: object): Promise<Answer> {
  expect((await post(first)).status).toBe(200);
  return post(second);
}

const withoutKey = { authorization: '' };
const person = { email: 'ada@example.com', name: 'Ada' };

/** A new customer's wallet with 500, all of it held. */
async function newHold(): Promise<{ readonly holds: string; readonly one: string }> {
  const holds = `/customers/${await app.newCustomer()}/wallets/holds`;
  const entries = holds.replace('/holds', '/ledger-entries');
  await app.call('POST', entries, { amount: 500, currency: 'USD', entry_type: 'credit' });
  const { body } = await app.call('POST', holds, { amount: 500, currency: 'USD', idempotency_key: 'k' });
  return { holds, one: `${holds}/${body.hold_id}` };
}

/** The route of a new customer's only lot, with 500. */
async function newLot(): Promise<string> {
  const wallets = `/customers/${await app.newCustomer()}/wallets`;
  await app.call('POST', `${wallets}/ledger-entries`, {
    ...{ amount: 500, currency: 'USD', entry_type: 'credit', kind: 'promo' },
  });
  const { body } = await app.call('GET', `${wallets}/lots`);
  return `${wallets}/lots/${body.items[0].lot_id}`;
}

/** The routes of a new customer's wallets, of which the one in USD is so. */
async function newWallet(status: string): Promise<string> {
  const wallets = `/customers/${await app.newCustomer()}/wallets`;
  await app.call('PUT', `${wallets}/USD/status`, { status, reason: 'why' });
  return wallets;
}

const TOP_UP_RULE = {
  ...{ enabled: false, threshold: 1000, mode: 'amount', amount: 2000, monthly_cap: 20_000, payment: null },
};

const PROVOKED: Readonly<Record<ErrorCode, () => Promise<Pick<Answer, 'body'>>>> = {
  INVALID_QUERY_PARAMS: () => app.call('GET', '/customers?page_size=0'),
  INSUFFICIENT_WALLET_FUNDS: () =>
    twice({ amount: 800, currency: 'USD' }, { amount: 1250, currency: 'USD', entry_type: 'debit' }),
  BALANCE_LIMIT_EXCEEDED: () => twice({ amount: MAX, currency: 'INR' }, { amount: 1, currency: 'INR' }),
  HOLD_AMOUNT_EXCEEDED: async () => app.call('POST', `${(await newHold()).one}/capture`, { amount: 550 }),
  HOLD_LIMIT_EXCEEDED: async () => {
    const { holds } = await newHold();
    const setTo = (count: number) =>
      app.database.pool.query('update wallet set open_holds = $1::int, hold_seq = $1::int where open_holds > 0', [
        count,
      ]);
    await setTo(1000);
    const answer = await app.call('POST', holds, { amount: 1, currency: 'USD', idempotency_key: 'more' });
    await setTo(1);
    return answer;
  },
  LOT_AMOUNT_EXCEEDED: async () =>
    app.call('POST', `${await newLot()}/void`, { amount: 550, reason: 'more', idempotency_key: 'more' }),
  LOT_LIMIT_EXCEEDED: async () => {
    const entries = `/customers/${await app.newCustomer()}/wallets/ledger-entries`;
    const entry = { amount: 1, currency: 'USD', entry_type: 'credit', kind: 'promo' };
    await Promise.all(Array.from({ length: 100 }, () => app.call('POST', entries, entry)));
    return app.call('POST', entries, entry);
  },
  TOP_UP_RULE_NOT_FOUND: () => app.call('GET', `/customers/${customerId}/wallets/USD/top-up-rule`),
  TOP_UP_NOT_FOUND: () => app.call('POST', `/customers/${customerId}/wallets/USD/top-ups/top_none/fail`, {}),
  CONSENT_REQUIRED: () =>
    app.call('PUT', `/customers/${customerId}/wallets/USD/top-up-rule`, { ...TOP_UP_RULE, enabled: true }),
  CHARGING_NOT_CONFIGURED: () =>
    app.call('PUT', `/customers/${customerId}/wallets/USD/top-up-rule`, {
      ...TOP_UP_RULE,
      payment: { source_id: EXAMPLE.sourceId, provider_customer_id: EXAMPLE.providerCustomerId },
    }),
  BELOW_GATEWAY_MINIMUM: async () => {
    const facts = { minimum: 50, total: 40, available: 10, withCreditPurchase: 50 };
    return replyTo(publicRefusal({ code: 'BELOW_GATEWAY_MINIMUM', ...facts }));
  },
  CHECKOUT_NOT_FOUND: async () => replyTo(publicRefusal({ code: 'CHECKOUT_NOT_FOUND' })),
  CHECKOUT_NOT_OPEN: async () => replyTo(publicRefusal({ code: 'CHECKOUT_NOT_OPEN', state: 'completed' })),
  MONTHLY_CAP_REACHED: async () =>
    replyTo(publicRefusal({ code: 'MONTHLY_CAP_REACHED', amount: 2500, monthlyCap: 6000, used: 4000 })),
  REFUND_EXCEEDS_PAID: async () => replyTo(publicRefusal({ code: 'REFUND_EXCEEDS_PAID', refundable: 1500 })),
  REFUNDS_ARE_PROPORTIONAL: async () => replyTo(publicRefusal({ code: 'REFUNDS_ARE_PROPORTIONAL' })),
  CHECKOUTS_NOT_YET: async () => replyTo(publicRefusal({ code: 'CHECKOUTS_NOT_YET' })),
  PROVIDER_UNAVAILABLE: async () => replyTo(publicRefusal({ code: 'PROVIDER_UNAVAILABLE' })),
  TOP_UP_IN_FLIGHT: async () => replyTo(publicRefusal({ code: 'TOP_UP_IN_FLIGHT' })),
  TOP_UP_NOT_OPEN: async () => replyTo(publicRefusal({ code: 'TOP_UP_NOT_OPEN', state: 'expired' })),
  LOT_NOT_FOUND: () => app.call('GET', `/customers/${customerId}/wallets/lots/lot_${customerId}_USD_1`),
  LOT_NOT_OPEN: async () => {
    const lot = await newLot();
    await app.call('POST', `${lot}/void`, { reason: 'all', idempotency_key: 'all' });
    return app.call('PATCH', lot, { priority: 1, reason: 'late' });
  },
  SCHEDULED_ENTRY_NOT_FOUND: () =>
    app.call('GET', `/customers/${customerId}/wallets/scheduled-entries/${EXAMPLE.scheduledEntryId}`),
  SCHEDULE_NOT_FOUND: () => app.call('GET', `/customers/${customerId}/wallets/USD/grant-schedules/none`),
  SCHEDULED_ENTRY_NOT_OPEN: async () => {
    const path = `/customers/${customerId}/wallets/scheduled-entries`;
    const post_at = new Date(Date.now() + 3_600_000).toISOString();
    const entry = { amount: 1, currency: 'USD', entry_type: 'credit', post_at, idempotency_key: 'later' };
    const { body } = await app.call('POST', path, entry);
    await app.database.pool.query(
      "update scheduled_entry set state = 'posted', due_at = null, entry_seq = 1, ended_at = now() where customer_id = $1",
      [customerId],
    );
    return app.call('POST', `${path}/${body.scheduled_entry_id}/cancel`);
  },
  EFFECTIVE_AT_OUT_OF_RANGE: () => post({ amount: 1, currency: 'USD', effective_at: '2020-01-01T00:00:00Z' }),
  EXPIRY_IN_THE_PAST: () => post({ amount: 1, currency: 'USD', expires_at: EXAMPLE.since }),
  PAID_CREDIT_CANNOT_EXPIRE: () => post({ amount: 1, currency: 'USD', kind: 'paid', expires_in_days: 365 }),
  WALLET_FROZEN: async () => {
    const wallets = await newWallet('frozen');
    return app.call('POST', `${wallets}/ledger-entries`, { amount: 1, currency: 'USD', entry_type: 'debit' });
  },
  WALLET_CLOSED: async () => {
    const wallets = await newWallet('closed');
    return app.call('POST', `${wallets}/ledger-entries`, { amount: 1, currency: 'USD', entry_type: 'credit' });
  },
  WALLET_NOT_EMPTY: async () => {
    const wallets = await newWallet('active');
    await app.call('POST', `${wallets}/ledger-entries`, { amount: 1, currency: 'USD', entry_type: 'credit' });
    return app.call('PUT', `${wallets}/USD/status`, { status: 'closed', reason: 'Left us' });
  },
  UNSTABLE_KEY: async () => replyTo(publicRefusal({ code: 'UNSTABLE_KEY' })),
  STATUSES_NOT_YET: async () => replyTo(publicRefusal({ code: 'STATUSES_NOT_YET' })),
  LOTS_NOT_YET: async () => replyTo(publicRefusal({ code: 'LOTS_NOT_YET' })),
  HOLD_NOT_FOUND: () => app.call('GET', `/customers/${customerId}/wallets/holds/hold_${customerId}_USD_1`),
  HOLD_OWNED: async () => replyTo(publicRefusal({ code: 'HOLD_OWNED', kind: 'dispute' })),
  HOLD_NOT_OPEN: async () => {
    const { one } = await newHold();
    await app.call('POST', `${one}/capture`, { amount: 120 });
    return app.call('POST', `${one}/release`);
  },
  INVALID_IDEMPOTENCY_KEY: () =>
    post({ amount: 1, currency: 'USD', idempotency_key: 'one' }, { 'idempotency-key': 'other' }),
  UNAUTHORIZED: () => app.call('GET', '/customers', undefined, withoutKey),
  INVALID_SIGNATURE: () => app.call('POST', '/webhooks/stripe', {}, withoutKey),
  FORBIDDEN: async () => app.call('POST', '/customers', person, await app.newKey('bus_reader', ['read'])),
  NOT_FOUND: () => app.call('GET', `/webhook-endpoints/${EXAMPLE.endpointId}`),
  CUSTOMER_NOT_FOUND: () => app.call('GET', `/customers/${EXAMPLE.customerId}`),
  NOT_SERVED_HERE: () => app.call('GET', `/payments/${EXAMPLE.paymentId}`, undefined, { 'x-stainless-lang': 'js' }),
  METHOD_NOT_ALLOWED: () => app.call('PUT', '/customers', {}),
  IDEMPOTENCY_KEY_EXISTS: () => {
    const same = { amount: 1, currency: 'USD', idempotency_key: 'same' };
    return twice(same, same);
  },
  CONFLICT: async () => {
    const { body } = await app.call('POST', '/webhook-endpoints', { url: 'https://shop.example/', disabled: true });
    return app.call('POST', `/webhook-endpoints/${body.endpoint_id}/test`, { event_type: 'wallet.created' });
  },
  ACCOUNT_OF_ANOTHER_SOURCE: async () => {
    const sources = sourcesPath('bus_default');
    const input = { provider: 'paddle', name: 'Shop', webhook_secret: newSecretOf('paddle') };
    const { body } = await app.call('POST', sources, input, bearer(ADMIN_KEY));
    const again = await app.call('POST', sources, input, bearer(ADMIN_KEY));
    // The sample names the source of the examples.
    return { body: JSON.parse(JSON.stringify(again.body).replaceAll(body.source_id, EXAMPLE.sourceId)) };
  },
  EVENT_BODY_REMOVED: async () => {
    await app.database.pool.query(
      `insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, received_at,
         body_hash, facts, body_removed_at)
       values ('evt_emptied', 'bus_default', 'src_stripe', 'stripe', 'k', 't', '', 'applied', now(), sha256('x'), '{}', $1)`,
      [EXAMPLE.since],
    );
    return app.call('POST', '/events/evt_emptied/replay');
  },
  BODY_TOO_LARGE: () => app.call('POST', '/customers', { ...person, name: 'x'.repeat(110_000) }),
  UNSUPPORTED_MEDIA_TYPE: () => app.call('POST', '/customers', 'name=Ada', { 'content-type': 'text/plain' }),
  INVALID_REQUEST_BODY: () => app.call('POST', '/customers', { ...person, email: 'nobody' }),
  UNSUPPORTED_CURRENCY: () => post({ amount: 1, currency: 'EUR' }),
  MAXIMUM_KEYS_REACHED: () => {
    const metadata = Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`key${n}`, n]));
    return app.call('POST', '/customers', { ...person, metadata });
  },
  IDEMPOTENCY_KEY_REUSED: () => {
    const first = { amount: 1, currency: 'USD', idempotency_key: 'reused' };
    return twice(first, { ...first, amount: 2 });
  },
  TOO_MANY_REQUESTS: async () => {
    // Keys that do not exist are the same for whoever has one: only the address is turned away.
    const wrong = Array.from({ length: 61 }, () =>
      app.call('GET', '/customers', undefined, { authorization: 'Bearer wrong' }),
    );
    const answers = await Promise.all(wrong);
    const [turnedAway] = answers.filter(({ status }) => status === 429);
    if (turnedAway === undefined) throw new Error('none of 61 wrong keys was one too many');
    return turnedAway;
  },
  INTERNAL_SERVER_ERROR: async () => failureOf(new Error('a mistake')),
  NOT_IMPLEMENTED: async () => {
    const operator = operatorOf(app);
    const source = {
      provider: 'adyen',
      name: 'Adyen',
      webhook_secret: newSecretOf('adyen'),
      api_key: 'a-key-of-adyen',
    };
    return operator.call('POST', sourcesPath(await operator.newMerchant()), source);
  },
  HOLDS_NOT_YET: async () => replyTo(publicRefusal({ code: 'HOLDS_NOT_YET' })),
  QUERY_TOO_SLOW: async () => failureOf(new ReadTooSlowError({ who: 'merchant', owner: 'bus_default' }, null)),
  SERVICE_UNAVAILABLE: async () => failureOf(new UnreadableSecretError('no key of it')),
};

const thing = z.record(z.string(), z.unknown()).optional();
const errorBody = z.looseObject({ entry: thing, hold: thing, lot: thing, scheduled_entry: thing });
/** An entry, a hold, a lot or a scheduled entry by what it has: every run writes another. */
const shown = (body: unknown) => {
  const { entry = {}, hold = {}, lot = {}, scheduled_entry = {}, ...rest } = errorBody.parse(body);
  const names = [entry, hold, lot, scheduled_entry].map((one) => Object.keys(one).toSorted());
  return { ...rest, names };
};

it.each(Object.entries(PROVOKED))('the sample of %s is what the service answers', async (code, provoke) => {
  const { sample } = ERROR_GUIDE[code as ErrorCode];
  const { body } = await provoke();
  expect(shown(body)).toEqual(shown({ code, ...sample }));
});
