import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PARK_REASONS } from '../../src/payments/fact.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { PROVIDER_NAMES, type ProviderName } from '../../src/providers/shared/names.ts';
import type { Interpretation } from '../../src/providers/shared/provider.ts';
import { type JsonObject, providerFixture } from '../support/provider-fixtures.ts';

type Path = readonly string[];

function fixtures(provider: ProviderName): readonly JsonObject[] {
  return readdirSync(new URL(`../fixtures/providers/${provider}/`, import.meta.url)).map((file) =>
    providerFixture(provider, file.replace(/\.json$/, '')),
  );
}

/** Every path into a value, its own (empty) one first. */
function pathsOf(value: unknown): Path[] {
  if (typeof value !== 'object' || value === null) return [[]];
  return [[], ...Object.entries(value).flatMap(([name, inner]) => pathsOf(inner).map((path) => [name, ...path]))];
}

/** A copy with another value at a path; undefined takes the path away. */
function replaced(value: unknown, [name, ...rest]: Path, replacement: unknown): unknown {
  if (name === undefined) return replacement;
  if (Array.isArray(value))
    return value.map((item, n) => (String(n) === name ? replaced(item, rest, replacement) : item));
  const object = value as JsonObject;
  return { ...object, [name]: replaced(object[name], rest, replacement) };
}

const ODD_VALUES = [
  undefined,
  null,
  '',
  0,
  -0,
  -1,
  0.5,
  1e300,
  2 ** 53,
  '0',
  '1.5',
  'NaN',
  [],
  {},
  [[]],
  true,
  '\u0000',
  '\ud800',
  '__proto__',
];
const oddValue = fc.oneof(
  fc.constantFrom(...ODD_VALUES),
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: 'binary' }),
  fc.double(),
);

const isText = (value: unknown, maxLength: number): boolean =>
  typeof value === 'string' && value.length <= maxLength && value.isWellFormed() && !/\p{Cc}/u.test(value);
const isId = (value: unknown): boolean => isText(value, 200) && value !== '';

/** What every interpretation promises to those who store and settle it. */
function expectSound(interpretation: Interpretation): void {
  expect(isId(interpretation.eventType)).toBe(true);
  if (interpretation.kind === 'parked') {
    expect(Object.keys(PARK_REASONS)).toContain(interpretation.reason);
    expect(isText(interpretation.detail, 500)).toBe(true);
  }
  if (interpretation.kind !== 'facts') return;
  const { facts, ties = [], naming } = interpretation;
  expect(facts.length + ties.length + (naming === undefined ? 0 : 1)).toBeGreaterThan(0);
  for (const tie of ties) expect(isId(tie.groupId) && isId(tie.paymentId)).toBe(true);
  expect(naming === undefined || isId(naming.groupId)).toBe(true);
  for (const fact of interpretation.facts) {
    const { amountMinor, occurredAt } = fact;
    expect(
      amountMinor === null || (Number.isSafeInteger(amountMinor) && amountMinor >= 0 && !Object.is(amountMinor, -0)),
    ).toBe(true);
    expect(fact.currency === null || /^[A-Z]{3}$/.test(fact.currency)).toBe(true);
    expect(isId(fact.paymentId)).toBe(true);
    expect(occurredAt === null || (occurredAt.getTime() >= 0 && occurredAt.getUTCFullYear() <= 9999)).toBe(true);
    if (fact.kind === 'payment') expect(fact.state !== 'succeeded' || amountMinor !== null).toBe(true);
    if (fact.kind === 'refund') expect(isId(fact.refundId)).toBe(true);
    if (fact.kind === 'dispute') expect(isId(fact.disputeId)).toBe(true);
    if (fact.kind === 'dispute' || fact.kind === 'movement') continue;
    const { id, email, name } = fact.customer;
    expect(id === null || isId(id)).toBe(true);
    expect(email === null || isText(email, 320)).toBe(true);
    expect(name === null || isText(name, 500)).toBe(true);
    for (const [key, value] of Object.entries(fact.metadata))
      expect(key.startsWith('wallet_') && isText(value, 500)).toBe(true);
  }
}

describe.each(PROVIDER_NAMES)('%s: nothing that can be sent breaks the adapter', (provider) => {
  const { interpret, deliveryKey } = PROVIDERS[provider];
  const targets = fixtures(provider).flatMap((body) => pathsOf(body).map((path) => ({ body, path })));

  it('any value in any place of a documented payload', () => {
    const replacement = fc.record({ target: fc.constantFrom(...targets), value: oddValue });
    fc.assert(
      fc.property(replacement, ({ target, value }) => {
        const rawBody = Buffer.from(JSON.stringify(replaced(target.body, target.path, value)) ?? '');
        expectSound(interpret(rawBody));
        const key = deliveryKey({ rawBody, headers: { 'webhook-id': 'msg_1' } });
        expect(isId(key)).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });

  it('any bytes', () => {
    const anyBytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(anyBytes, (rawBody) => expectSound(interpret(rawBody))),
      { numRuns: 1_000 },
    );
  });

  it('a payload cut off or with a flipped bit', () => {
    const damage = fc.record({
      target: fc.constantFrom(...targets),
      at: fc.nat(3_000),
      bit: fc.nat(7),
      isCut: fc.boolean(),
    });
    fc.assert(
      fc.property(damage, ({ target, at, bit, isCut }) => {
        const whole = Buffer.from(JSON.stringify(target.body));
        const index = at % whole.length;
        if (isCut) return expectSound(interpret(whole.subarray(0, index)));
        whole[index] = (whole[index] ?? 0) ^ (1 << bit);
        return expectSound(interpret(whole));
      }),
      { numRuns: 1_000 },
    );
  });
});
