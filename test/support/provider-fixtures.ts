import { readFileSync } from 'node:fs';
import type { ProviderName } from '../../src/providers/shared/names.ts';

export type JsonObject = Record<string, unknown>;

/** The documented payload in `test/fixtures/providers/<provider>/<name>.json`, parsed anew on every call. */
export function providerFixture(provider: ProviderName, name: string): JsonObject {
  const file = new URL(`../fixtures/providers/${provider}/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as JsonObject;
}

/** The object inside an object, for a fixture that is known to have it. */
export function within(object: JsonObject, ...path: readonly string[]): JsonObject {
  return path.reduce((inner, name) => inner[name] as JsonObject, object);
}
