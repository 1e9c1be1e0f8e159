import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PROVIDER_NAMES, type ProviderName } from '../../src/providers/shared/names.ts';
import type { Interpretation } from '../../src/providers/shared/provider.ts';
import { providerFixture } from '../support/provider-fixtures.ts';
import { interpret } from './reading.ts';

/* Which payment an event names that could not be read. */

const names = (provider: ProviderName): readonly string[] =>
  readdirSync(new URL(`../fixtures/providers/${provider}/`, import.meta.url)).map((file) => file.replace('.json', ''));

/** Every copy of the value in which one leaf is a text that no field takes, and the leaf that it had. */
function bent(value: unknown): { readonly copy: unknown; readonly leaf: unknown; readonly path: string }[] {
  if (typeof value !== 'object' || value === null) return [{ copy: '\0', leaf: value, path: '' }];
  return Object.entries(value).flatMap(([name, inner]) =>
    bent(inner).map(({ copy, leaf, path }) => ({
      copy: Array.isArray(value)
        ? value.map((item, index) => (String(index) === name ? copy : item))
        : { ...value, [name]: copy },
      leaf,
      path: `${name}.${path}`,
    })),
  );
}

function paymentOf(interpretation: Interpretation): string | undefined {
  if (interpretation.kind === 'ignored') return undefined;
  if (interpretation.kind === 'parked' && interpretation.names !== undefined) return interpretation.names.paymentId;
  return interpretation.facts?.[0]?.paymentId;
}

describe.each(PROVIDER_NAMES)('a documented payload of %s in which one value is wrong', (provider) => {
  it.each(names(provider))('names its payment also where it is parked: %s', (name) => {
    const body = providerFixture(provider, name);
    const reading = interpret(provider, body);
    const paymentId = paymentOf(reading);
    if (paymentId === undefined) return;
    const all = new Set<string | undefined>(
      reading.kind === 'facts' ? reading.facts.map((fact) => fact.paymentId) : [],
    ).add(paymentId);
    const isOfId = (leaf: unknown) =>
      (typeof leaf !== 'boolean' && paymentId.includes(String(leaf))) || String(leaf).includes(paymentId);
    const silent = bent(body)
      .filter(({ leaf, path }) => !isOfId(leaf) && !path.endsWith('.rel.'))
      .map(({ copy, path }) => ({ path, reading: interpret(provider, copy as object) }))
      .filter(({ reading }) => reading.kind === 'parked' && reading.eventType !== 'unknown')
      .filter(({ reading }) => !all.has(paymentOf(reading)))
      .map(({ path, reading }) => `${path} ${paymentOf(reading)}`);
    expect(silent).toEqual([]);
  });
});
