import { describe, expect, test } from 'vitest';
import type { Entry, WalletAlert } from '../../src/ledger/entry.ts';
import {
  exampleMessage,
  isOutgoingEventType,
  OUTGOING_EVENT_TYPES,
  OUTGOING_EVENTS,
  payloadJsonSchema,
} from '../../src/outgoing/catalogue.ts';
import { afterAttempt } from '../../src/outgoing/embedded/deliver.ts';
import { nextTryInSeconds, parseRetryAfter } from '../../src/outgoing/embedded/retry-schedule.ts';
import { buildMessages, type WalletNews } from '../../src/outgoing/messages.ts';
import { readSvixFailure } from '../../src/outgoing/svix/answers.ts';

const NOW = new Date('2026-02-01T00:00:00.000Z');
const KEY = { merchantId: 'bus_1', customerId: 'cus_1', currency: 'USD' };

function entry(seq: number, overrides: Partial<Entry> = {}): Entry {
  return {
    ...KEY,
    seq,
    amountMinor: 10,
    isCredit: true,
    eventType: 'payment',
    beforeBalance: (seq - 1) * 10,
    afterBalance: seq * 10,
    reason: null,
    referenceObjectId: 'pay_1',
    metadata: { plan: 'pro' },
    idempotencyKey: null,
    fingerprint: null,
    hash: null,
    createdAt: new Date(NOW.getTime() + seq),
    effectiveAt: null,
    ...overrides,
  };
}

function alert(alertSeq: number, kind: WalletAlert['kind']): WalletAlert {
  const details = null;
  return { ...KEY, alertSeq, kind, reminder: false, balance: 5, threshold: 100, version: 2, createdAt: NOW, details };
}

function news(overrides: Partial<WalletNews> = {}): WalletNews {
  const claim = {
    fromVersion: -1,
    toVersion: 2,
    fromAlertSeq: 0,
    toAlertSeq: 3,
    attempts: 0,
    createdAt: NOW,
    traceParent: null,
  };
  const alerts = [alert(1, 'low'), alert(2, 'depleted'), alert(3, 'recovered')];
  return { ...KEY, ...claim, entries: [entry(1), entry(2)], alerts, ...overrides };
}

test('a change of a balance tells the hash of the newest entry that it tells of, and null where that has none', () => {
  const headOf = (...hashes: (string | null)[]) => {
    const entries = hashes.map((hash, index) => entry(index + 1, { hash }));
    const message = buildMessages(news({ entries })).find(({ eventType }) => eventType === 'wallet.balance.changed');
    return JSON.parse(message?.payload ?? '{}').data.head;
  };
  expect(headOf('a'.repeat(64), 'b'.repeat(64))).toBe('b'.repeat(64));
  expect(headOf('a'.repeat(64), null)).toBeNull();
});

describe('the catalogue', () => {
  test.each(OUTGOING_EVENTS)(
    '$type has an example that fits its schema, and JSON Schemas for Svix and OpenAPI',
    (event) => {
      expect(event.schema.parse(event.example)).toEqual(event.example);
      for (const target of ['draft-7', 'draft-2020-12'] as const) {
        const schema = payloadJsonSchema(event, target);
        expect(schema).toMatchObject({ type: 'object', description: event.description, examples: [event.example] });
        const about = event.type === 'endpoint.disabled' ? 'endpoint_id' : 'customer_id';
        expect(schema.properties).toHaveProperty(`data.properties.${about}`);
      }
      const sent = exampleMessage(event.type, { merchantId: 'bus_1', messageId: 'msg_1', at: NOW });
      const { data } = event.example;
      const envelope = { id: 'msg_1', type: event.type, business_id: 'bus_1', timestamp: NOW.toISOString() };
      expect(JSON.parse(sent.payload)).toEqual({ ...envelope, data });
    },
  );

  test('names the event types of the design, in names that Svix accepts', () => {
    expect(OUTGOING_EVENT_TYPES).toEqual([
      'wallet.created',
      'wallet.balance.changed',
      'wallet.balance.low',
      'wallet.balance.recovered',
      'wallet.balance.depleted',
      'wallet.hold.expired',
      'wallet.hold.placed',
      'wallet.hold.lifted',
      'wallet.credit.expiring',
      'wallet.credit.expired',
      'wallet.credit.voided',
      'scheduled_entry.skipped',
      'grant.skipped',
      'wallet.status.changed',
      'payment.reconciled',
      'topup.requested',
      'topup.succeeded',
      'topup.failed',
      'topup.paid_twice',
      'topup.suspended',
      'topup.resumed',
      'topup.blocked',
      'checkout.completed',
      'checkout.short',
      'checkout.expired',
      'checkout.refunded',
      'endpoint.disabled',
    ]);
    for (const type of OUTGOING_EVENT_TYPES) expect(type).toMatch(/^[A-Za-z0-9._-]+$/);
    expect(isOutgoingEventType('toString')).toBe(false);
  });
});

describe('messages of a claim', () => {
  test('are created, changed and the alerts, in that order, and fit their schemas', () => {
    const messages = buildMessages(news());
    expect(messages.map(({ eventType }) => eventType)).toEqual([
      'wallet.created',
      'wallet.balance.changed',
      'wallet.balance.low',
      'wallet.balance.depleted',
      'wallet.balance.recovered',
    ]);
    for (const { eventType, payload, messageId, merchantId } of messages) {
      const event = OUTGOING_EVENTS.find(({ type }) => type === eventType);
      const parsed = JSON.parse(payload);
      expect(event?.schema.parse(parsed)).toEqual(parsed);
      expect(parsed).toMatchObject({ id: messageId, business_id: merchantId, type: eventType });
      expect(messageId).toMatch(/^whm_[0-9a-hjkmnp-tv-z]{26}$/);
    }
    expect(JSON.parse(messages[1]?.payload ?? '')).toMatchObject({
      timestamp: '2026-02-01T00:00:00.002Z',
      data: {
        customer_id: 'cus_1',
        currency: 'USD',
        balance: 20,
        version: 2,
        previous_version: 0,
        entries: [
          { id: 'ent_cus_1_USD_1', seq: 1, amount: 10, is_credit: true, event_type: 'payment', after_balance: 10 },
          { id: 'ent_cus_1_USD_2', seq: 2, before_balance: 10, metadata: { plan: 'pro' } },
        ],
      },
    });
  });

  test('say of holds that expired which, and what is available now', () => {
    const hold = { holdId: 'hold_cus_1_USD_1', amount: 300, captured: 100, expired: 200, referenceObjectId: 'job_7' };
    const details = { available: 250, holds: [hold, { ...hold, holdId: 'hold_cus_1_USD_2', referenceObjectId: null }] };
    const expired: WalletAlert = { ...alert(1, 'low'), kind: 'hold_expired', threshold: null, details };
    const [message] = buildMessages(news({ fromVersion: 2, entries: [], toAlertSeq: 1, alerts: [expired] }));
    const parsed = JSON.parse(message?.payload ?? '');
    expect(OUTGOING_EVENTS.find(({ type }) => type === 'wallet.hold.expired')?.schema.parse(parsed)).toEqual(parsed);
    expect(parsed.data).toMatchObject({
      available: 250,
      holds: [
        { hold_id: 'hold_cus_1_USD_1', amount: 300, captured: 100, expired: 200, reference_object_id: 'job_7' },
        { hold_id: 'hold_cus_1_USD_2', reference_object_id: null },
      ],
    });
    expect(() => buildMessages(news({ alerts: [{ ...expired, details: null }], toAlertSeq: 1 }))).toThrow('names none');
  });

  test('say of a hold for a dispute whose it is, what it may take and what is held', () => {
    const ids = { holdId: 'hold_cus_1_USD_1', paymentId: 'pi_1', disputeId: 'du_1' };
    const told = (kind: 'hold_placed' | 'hold_lifted', held: number) => {
      const details = { available: 5, ...ids, wanted: 700, held };
      const news_ = news({
        ...{ fromVersion: 2, entries: [], toAlertSeq: 1 },
        alerts: [{ ...alert(1, 'low'), kind, threshold: null, details }],
      });
      const parsed = JSON.parse(buildMessages(news_)[0]?.payload ?? '');
      expect(OUTGOING_EVENTS.find(({ type }) => type === parsed.type)?.schema.parse(parsed)).toEqual(parsed);
      return [parsed.type, parsed.data.payment_id, parsed.data.dispute_id, parsed.data.wanted, parsed.data.held];
    };
    expect(told('hold_placed', 500)).toEqual(['wallet.hold.placed', 'pi_1', 'du_1', 700, 500]);
    expect(told('hold_lifted', 0)).toEqual(['wallet.hold.lifted', 'pi_1', 'du_1', 700, 0]);
  });

  test.each<[string, Partial<WalletAlert>, object]>([
    [
      'wallet.credit.expiring',
      {
        kind: 'credit_expiring',
        details: {
          noticeDays: 7,
          lots: [{ lotId: 'lot_cus_1_USD_1', kind: 'promo', remaining: 300, expiresAt: '2026-02-08T00:00:00.000Z' }],
        },
      },
      {
        notice_days: 7,
        lots: [{ lot_id: 'lot_cus_1_USD_1', kind: 'promo', remaining: 300, expires_at: '2026-02-08T00:00:00.000Z' }],
      },
    ],
    ...(['credit_expired', 'credit_voided'] as const).map((kind): [string, Partial<WalletAlert>, object] => [
      `wallet.${kind.replace('_', '.')}`,
      { kind, details: { lots: [{ lotId: 'lot_cus_1_USD_1', amount: 300 }] } },
      { lots: [{ lot_id: 'lot_cus_1_USD_1', amount: 300 }] },
    ]),
    [
      'scheduled_entry.skipped',
      {
        kind: 'scheduled_entry_skipped',
        details: {
          ...{ scheduledEntryId: 'sen_1', amount: 300, isCredit: false, postAt: '2026-02-08T00:00:00.000Z' },
          code: 'INSUFFICIENT_WALLET_FUNDS',
        },
      },
      {
        ...{ scheduled_entry_id: 'sen_1', amount: 300, is_credit: false, post_at: '2026-02-08T00:00:00.000Z' },
        code: 'INSUFFICIENT_WALLET_FUNDS',
      },
    ],
    [
      'grant.skipped',
      {
        kind: 'grant_skipped',
        details: {
          ...{ scheduleId: 'monthly', amount: 300, fromPeriod: 1, toPeriod: 2, reason: 'too_old' },
          ...{ firstDueAt: '2026-02-08T00:00:00.000Z', lastDueAt: '2026-03-08T00:00:00.000Z' },
        },
      },
      {
        ...{ schedule_id: 'monthly', amount: 300, from_period: 1, to_period: 2, reason: 'too_old' },
        ...{ first_due_at: '2026-02-08T00:00:00.000Z', last_due_at: '2026-03-08T00:00:00.000Z' },
      },
    ],
    [
      'wallet.status.changed',
      {
        kind: 'status_changed',
        details: { status: 'frozen', previousStatus: 'active', pauseExpiry: true, actor: 'operator' },
      },
      { status: 'frozen', previous_status: 'active', pause_expiry: true, actor: 'operator' },
    ],
  ])('say what they are of: %s', (eventType, alerted, data) => {
    const one: WalletAlert = { ...alert(1, 'low'), threshold: null, ...alerted };
    const [message] = buildMessages(news({ fromVersion: 2, entries: [], toAlertSeq: 1, alerts: [one] }));
    const parsed = JSON.parse(message?.payload ?? '');
    expect(OUTGOING_EVENTS.find(({ type }) => type === eventType)?.schema.parse(parsed)).toEqual(parsed);
    expect(parsed.data).toEqual({ customer_id: 'cus_1', currency: 'USD', balance: 5, version: 2, ...data });
    expect(() => buildMessages(news({ alerts: [{ ...one, details: null }], toAlertSeq: 1 }))).toThrow('names no');
  });

  test('are the same bytes every time, and have other ids for anything else', () => {
    expect(buildMessages(news())).toEqual(buildMessages(news()));
    const ids = [
      news(),
      news({ customerId: 'cus_2' }),
      news({ merchantId: 'bus_2' }),
      news({ currency: 'INR' }),
      news({ fromVersion: 2, toVersion: 3, entries: [entry(3)] }),
    ].map((one) => buildMessages(one).find(({ eventType }) => eventType === 'wallet.balance.changed')?.messageId);
    expect(new Set(ids).size).toBe(5);
  });

  test('stay below 40 kB: a bulky backlog is split, in order and without a gap', () => {
    const metadata = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`k${index}`, 'ü'.repeat(100)]));
    const entries = Array.from({ length: 20 }, (_, index) => entry(index + 1, { metadata }));
    const messages = buildMessages(news({ fromVersion: 0, toVersion: 20, entries, alerts: [], toAlertSeq: 0 }));
    expect(messages.length).toBeGreaterThan(4);
    for (const { payload } of messages) expect(Buffer.byteLength(payload)).toBeLessThan(40_000);
    const data = messages.map(({ payload }) => JSON.parse(payload).data);
    expect(data.map((one) => one.previous_version)).toEqual([0, ...data.slice(0, -1).map((one) => one.version)]);
    expect(data.flatMap((one) => one.entries.map((each: { seq: number }) => each.seq))).toEqual(
      entries.map(({ seq }) => seq),
    );
  });

  test.each([
    ['an entry is missing', { entries: [entry(2)] }],
    ['the entries are not in order', { entries: [entry(2), entry(1)] }],
    ['an alert is missing', { alerts: [alert(1, 'low')] }],
  ])('are not made when %s', (_, overrides) => {
    expect(() => buildMessages(news(overrides))).toThrow('Invariant broken: a claim lacks');
  });
});

describe('the retry schedule', () => {
  const failed = { overloaded: false, retryAfterSeconds: null };

  test('is Svix’s: eight tries, then none', () => {
    const steps = [1, 2, 3, 4, 5, 6, 7, 8].map((attempts) => nextTryInSeconds({ attempts, ...failed }, 0.5));
    expect(steps).toEqual([5, 300, 1800, 7200, 18_000, 36_000, 36_000, null]);
  });

  test.each([
    ['20 % earlier at most', { attempts: 2, ...failed }, 0, 240],
    ['20 % later at most', { attempts: 2, ...failed }, 0.999_999, 360],
    ['a minute after a timeout or a 429', { attempts: 1, ...failed, overloaded: true }, 0.5, 60],
    ['when the receiver wishes', { attempts: 2, ...failed, retryAfterSeconds: 500 }, 0.5, 500],
    ['no later than twice the step', { attempts: 2, ...failed, retryAfterSeconds: 100_000 }, 0.5, 600],
    ['no earlier than the step', { attempts: 2, ...failed, retryAfterSeconds: 1 }, 0.5, 300],
  ])('tries again %s', (_, failure, random, seconds) => {
    expect(nextTryInSeconds(failure, random)).toBeCloseTo(seconds, 2);
  });

  test.each([
    [undefined, null],
    ['120', 120],
    ['Sun, 01 Feb 2026 00:02:00 GMT', 120],
    ['Sat, 31 Jan 2026 00:00:00 GMT', 0],
    ['soon', null],
  ])('reads Retry-After %s as %s', (header, seconds) => {
    expect(parseRetryAfter(header, NOW)).toBe(seconds);
  });

  test.each([
    [200, false, 'delivered'],
    [204, false, 'delivered'],
    [302, false, 'pending'],
    [410, false, 'pending'],
    [429, false, 'pending'],
    [null, true, 'pending'],
  ])('an answer of %s (timed out: %s) leaves the delivery %s', (statusCode, timedOut, state) => {
    const settled = afterAttempt({ attempts: 0 }, { statusCode, timedOut, retryAfterSeconds: null }, 0.5);
    const nextInSeconds = state === 'delivered' ? null : statusCode === 429 || timedOut ? 60 : 5;
    expect(settled).toEqual({ state, isTry: true, nextInSeconds });
    if (state !== 'delivered') {
      expect(afterAttempt({ attempts: 7 }, { statusCode, timedOut, retryAfterSeconds: null }, 0.5).state).toBe(
        'failed',
      );
    }
  });
});

describe('failures of Svix', () => {
  const answered = (code: number, body: unknown = {}, headers = {}) =>
    Object.assign(new Error(), { code, body, headers });
  const reset = new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNRESET' }) });

  test.each([
    [answered(409), { kind: 'conflict' }],
    [answered(404), { kind: 'notFound' }],
    [answered(401), { kind: 'unauthorized', status: 401 }],
    [answered(403), { kind: 'unauthorized', status: 403 }],
    [answered(429, {}, { 'retry-after': '7' }), { kind: 'rateLimited', retryAfterSeconds: 7 }],
    [answered(429, {}, { 'retry-after': '99999' }), { kind: 'rateLimited', retryAfterSeconds: 900 }],
    [answered(429), { kind: 'rateLimited', retryAfterSeconds: 5 }],
    [answered(400, { detail: 'bad' }), { kind: 'refused', status: 400, detail: 'bad' }],
    [answered(413, 'too large'), { kind: 'refused', status: 413, detail: 'no reason given' }],
    [
      answered(422, { detail: [{ loc: ['body', 'url'], msg: 'not a url' }] }),
      { kind: 'refused', status: 422, detail: 'url: not a url' },
    ],
    [answered(500, 'x'), { kind: 'unavailable', reason: 'Svix answered 500' }],
    [answered(402), { kind: 'unavailable', reason: 'Svix answered 402' }],
    [new SyntaxError('<html>'), { kind: 'unavailable', reason: 'Svix answered with something that is not JSON' }],
    [new DOMException('', 'TimeoutError'), { kind: 'unavailable', reason: 'Svix did not answer in time' }],
    [reset, { kind: 'unavailable', reason: 'Svix could not be reached (ECONNRESET)' }],
    [new TypeError('fetch failed'), { kind: 'unavailable', reason: 'Svix could not be reached' }],
    ['odd', { kind: 'unavailable', reason: 'Svix could not be called' }],
  ])('%s', (thrown, failure) => {
    expect(readSvixFailure(thrown, NOW)).toEqual(failure);
  });
});
