import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { type JsonObject, providerFixture } from '../support/provider-fixtures.ts';
import { interpret, summary } from './reading.ts';

/** What every later provider's test file begins with: its documented payloads, and that none of them can be bent. */

/** @param table a fixture's name and the summary of what it says; the type of its event is what the name begins with */
export function describeFixtures(provider: ProviderName, table: Readonly<Record<string, string>>): void {
  describe(`every documented payload of ${provider}`, () => {
    it('has its line in the table', () => {
      const files = readdirSync(new URL(`../fixtures/providers/${provider}/`, import.meta.url));
      expect(files.sort()).toEqual(
        Object.keys(table)
          .map((name) => `${name}.json`)
          .sort(),
      );
    });

    it.each(Object.entries(table))('%s → %s', (name, expected) => {
      const interpretation = interpret(provider, providerFixture(provider, name));
      expect(summary(interpretation)).toBe(expected);
      expect(name === interpretation.eventType || name.startsWith(`${interpretation.eventType}.`)).toBe(true);
    });
  });
}

/** @param amountPaths the only places of an amount or of its currency; every other change leaves them as they are */
export function describeUnbendableAmounts(
  provider: ProviderName,
  fixtures: readonly string[],
  amountPaths: readonly string[],
): void {
  it(`no other change to an event of ${provider} changes its amount`, () => {
    const targets = fixtures.flatMap((name) => {
      const body = providerFixture(provider, name);
      const amounts = amountsOf(provider, body);
      expect(amounts).toHaveLength(1);
      return leavesOf(body)
        .filter((path) => !amountPaths.includes(path.join('.')))
        .map((path) => ({ body, path, amounts }));
    });
    const change = fc.record({ target: fc.constantFrom(...targets), value: fc.oneof(fc.jsonValue(), fc.double()) });
    fc.assert(
      fc.property(change, ({ target, value }) => {
        const amounts = amountsOf(provider, changed(target.body, target.path, value));
        expect([[], target.amounts]).toContainEqual(amounts);
      }),
      { numRuns: 2_000 },
    );
  });
}

function amountsOf(provider: ProviderName, body: object): string[] {
  const interpretation = interpret(provider, body);
  if (interpretation.kind !== 'facts') return [];
  return interpretation.facts
    .filter((fact) => fact.kind !== 'payment' || fact.state === 'succeeded')
    .map(({ amountMinor, currency }) => `${amountMinor} ${currency}`);
}

type Path = readonly string[];

function leavesOf(value: unknown): Path[] {
  if (typeof value !== 'object' || value === null) return [[]];
  return Object.entries(value).flatMap(([name, inner]) => leavesOf(inner).map((path) => [name, ...path]));
}

/** A copy of an event with another value at a path of objects and arrays. */
export function changed(body: JsonObject, path: Path, value: unknown): JsonObject {
  const copy = structuredClone(body);
  const inner = path.slice(0, -1).reduce((object, name) => object[name] as JsonObject, copy);
  inner[path.at(-1) ?? ''] = value;
  return copy;
}
