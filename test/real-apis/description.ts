import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

/** An OpenAPI description that a provider publishes, read from a file that the developer has. */

const PRISM = join(import.meta.dirname, 'prism/package.json');

const NULLABLE = z.object({ anyOf: z.array(z.looseObject({ type: z.unknown().optional() })) });
const PARAMETER = z.looseObject({ name: z.string(), in: z.string() });
const REFERENCE = z.object({ $ref: z.string() });
const OPERATION = z.looseObject({ parameters: z.array(z.unknown()).default([]) });
const PATH_ITEM = z.looseObject({ parameters: z.array(z.unknown()).default([]), get: OPERATION.optional() });
const DOCUMENT = z.looseObject({
  info: z.looseObject({ version: z.string() }),
  paths: z.record(z.string(), PATH_ITEM),
  components: z.looseObject({ parameters: z.record(z.string(), PARAMETER).default({}) }).default({ parameters: {} }),
});
type Document = z.infer<typeof DOCUMENT>;
type Parameter = z.infer<typeof PARAMETER>;

export interface Description {
  readonly version: string;
  /** A copy in JSON for Prism; see {@link withPlainLists}. */
  readonly file: string;
  /** The names in the query of a GET that the description does not have, which Prism lets pass; all of an unknown path's. */
  unknownParameters(path: string): readonly string[];
}

/**
 * @param routes what the paths that are asked for begin with: Prism takes minutes to read the whole of Stripe's
 * @throws {Error} if the file is not there or is no description in JSON or YAML
 */
export async function readDescription(file: string, routes: readonly string[]): Promise<Description> {
  // JSON is YAML, and Prism's own parser reads both.
  const { parse } = z
    .object({ parse: z.custom<(text: string) => unknown>((value) => typeof value === 'function') })
    .parse(createRequire(PRISM)('@stoplight/yaml'));
  const whole = DOCUMENT.parse(parse(await readFile(file, 'utf8')));
  const document = { ...whole, paths: readPaths(whole, routes) };
  const folder = await mkdtemp(join(tmpdir(), 'chokin-description-'));
  const copy = join(folder, 'openapi.json');
  const known = parametersOf(document);
  await writeFile(copy, JSON.stringify(document, withPlainLists));
  return {
    version: document.info.version,
    file: copy,
    unknownParameters(path) {
      const { pathname, searchParams } = new URL(path, 'http://provider');
      const route = known.find(({ pattern }) => pattern.test(pathname));
      return [...new Set(searchParams.keys())].filter((name) => !hasParameter(route?.parameters, name));
    },
  };
}

/** The GETs of the routes alone. */
function readPaths({ paths }: Document, routes: readonly string[]): Document['paths'] {
  const asked = Object.entries(paths).filter(([path]) => routes.some((route) => path.startsWith(route)));
  return Object.fromEntries(asked.map(([path, { parameters, get }]) => [path, { parameters, get }]));
}

interface PathParameters {
  readonly pattern: RegExp;
  /** The names of what may stand in the query. */
  readonly parameters: ReadonlySet<string>;
}

/** `created[gte]` is a part of `created`, and a list's name may end with `[]`. */
function hasParameter(parameters: ReadonlySet<string> | undefined, name: string): boolean {
  return parameters !== undefined && (parameters.has(name) || parameters.has(name.replace(/\[\w*\]$/, '')));
}

function parametersOf(document: Document): readonly PathParameters[] {
  const found: PathParameters[] = [];
  for (const [path, item] of Object.entries(document.paths)) {
    if (item.get === undefined) continue;
    const all = [...item.parameters, ...item.get.parameters].map((one) => resolve(document, one));
    const inQuery = all.filter((one) => one.in === 'query');
    const pattern = new RegExp(`^${path.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`);
    found.push({ pattern, parameters: new Set(inQuery.map((one) => one.name)) });
  }
  return found;
}

function resolve(document: Document, parameter: unknown): Parameter {
  const reference = REFERENCE.safeParse(parameter);
  if (!reference.success) return PARAMETER.parse(parameter);
  const name = reference.data.$ref.replace('#/components/parameters/', '');
  return PARAMETER.parse(document.components.parameters[name]);
}

/** A list that may also be null is a list: Prism knows only those that are nothing else, and would refuse a single value. */
function withPlainLists(name: string, value: unknown): unknown {
  const choices = NULLABLE.safeParse(value);
  if (name !== 'schema' || !choices.success) return value;
  const [only, ...others] = choices.data.anyOf.filter(({ type }) => type !== 'null');
  return only?.type === 'array' && others.length === 0 ? only : value;
}
