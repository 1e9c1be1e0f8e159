import { z } from 'zod';
import { CLOUD_ONLY, CONTRACT, type OperationContract, type SvixOperation } from './contract.ts';

/** What of a JSON schema is compared: not how it is described. */
interface Shape {
  readonly [key: string]: unknown;
}

const reference = z.object({ $ref: z.string() });
const schemaObject = z.record(z.string(), z.unknown());
const media = z.object({ 'application/json': z.object({ schema: schemaObject }) });
const parameter = z.object({ name: z.string(), in: z.enum(['path', 'query', 'header']), schema: schemaObject });
const operation = z.object({
  parameters: z.array(parameter).default([]),
  requestBody: z.object({ content: media }).optional(),
  responses: z.record(z.string(), z.object({ content: media.optional() })),
});
const description = z.object({
  info: z.object({ version: z.string() }),
  paths: z.record(z.string(), z.record(z.string(), operation)),
  components: z.object({ schemas: z.record(z.string(), schemaObject) }),
});
type Description = z.infer<typeof description>;

/**
 * Compares svix/contract.ts with a description that Svix publishes: every operation's query, body and answers.
 * @returns what differs, in words; nothing if the contract says what the description says
 */
export function differencesFrom(published: unknown): {
  readonly version: string;
  readonly differences: readonly string[];
} {
  const parsed = description.parse(published);
  const differences: string[] = [];
  for (const [name, contract] of Object.entries(CONTRACT) as [SvixOperation, OperationContract][]) {
    const found = parsed.paths[contract.path]?.[contract.method.toLowerCase()];
    if (found === undefined) {
      differences.push(`${name}: ${contract.method} ${contract.path} is not published`);
      continue;
    }
    const compare = (place: string, ours: z.ZodType | null, theirs: Shape | null) =>
      differences.push(...differencesOf(`${name}: ${place}`, ours === null ? null : shapeOfOurs(ours), theirs));
    compare('query', contract.query, shapeOfQuery(parsed, found.parameters));
    const body = found.requestBody?.content['application/json'].schema;
    compare('body', contract.body, body === undefined ? null : shapeOf(parsed, body));
    for (const cloudOnly of CLOUD_ONLY[name] ?? []) {
      const known = [
        ...found.parameters.map((one) => one.name),
        ...Object.keys(shapeOf(parsed, body ?? {}).properties ?? {}),
      ];
      if (known.includes(cloudOnly)) differences.push(`${name}: ${cloudOnly} is published by now`);
    }
    const theirs = Object.entries(found.responses).filter(([status]) => status.startsWith('2'));
    if (name === 'health.get') continue;
    differences.push(
      ...missing(
        `${name}: answers`,
        Object.keys(contract.answers),
        theirs.map(([status]) => status),
      ),
    );
    for (const [status, { content }] of theirs) {
      const schema = content?.['application/json'].schema;
      compare(`answer ${status}`, contract.answers[Number(status)] ?? null, schema ? shapeOf(parsed, schema) : null);
    }
  }
  return { version: parsed.info.version, differences };
}

/** The query as one object, as the contract has it. */
function shapeOfQuery(parsed: Description, parameters: readonly z.infer<typeof parameter>[]): Shape {
  const query = parameters.filter((one) => one.in === 'query');
  const properties = Object.fromEntries(query.map(({ name, schema }) => [name, shapeOf(parsed, schema)]));
  return { type: 'object', properties, required: [] };
}

function shapeOfOurs(ours: z.ZodType): Shape {
  const schema = z.toJSONSchema(ours, { target: 'openapi-3.0', io: 'input' });
  return shapeOf(null, schemaObject.parse(JSON.parse(JSON.stringify(schema))));
}

const KEPT = ['minLength', 'maxLength', 'minItems', 'maxItems', 'minimum', 'maximum', 'pattern'] as const;

/** A schema of either side, its references followed and written one way. */
function shapeOf(parsed: Description | null, schema: Record<string, unknown>): Shape {
  const referred = reference.safeParse(schema);
  if (referred.success) {
    const name = referred.data.$ref.replace('#/components/schemas/', '');
    const target = shapeOf(parsed, parsed?.components.schemas[name] ?? {});
    return schema.nullable === true ? { ...target, nullable: true } : target;
  }
  const inner = (value: unknown) => shapeOf(parsed, schemaObject.parse(value));
  const values = literalsOf(schema);
  const type =
    values === null ? schema.type : values.every((value) => typeof value === 'number') ? 'integer' : 'string';
  const shape: Record<string, unknown> = { type };
  if (values !== null) shape.enum = values;
  if (isNullable(schema)) shape.nullable = true;
  if (schema.format === 'date-time' || schema.format === 'uri') shape.format = schema.format;
  for (const key of KEPT) {
    // A time's pattern is our library's, and the bounds of a number's type are told by its format over there.
    const isOfTime = key === 'pattern' && schema.format === 'date-time';
    if (schema[key] !== undefined && !isOfTime && !isBoundOfType(schema[key])) shape[key] = schema[key];
  }
  if (type === 'array') shape.items = inner(schema.items);
  if (type === 'object') {
    const properties = Object.entries(schemaObject.parse(schema.properties ?? {}));
    shape.properties = Object.fromEntries(properties.map(([name, value]) => [name, inner(value)]));
    shape.required = z
      .array(z.string())
      .parse(schema.required ?? [])
      .toSorted();
    const values = schemaObject.safeParse(schema.additionalProperties);
    // An object of anything: `{}` here, no word of it there.
    if (values.success && Object.keys(values.data).length > 0) shape.values = inner(schema.additionalProperties);
  }
  return shape;
}

const LARGEST_UINT16 = 65_535;

function isBoundOfType(bound: unknown): boolean {
  return bound === LARGEST_UINT16 || Math.abs(Number(bound)) === Number.MAX_SAFE_INTEGER;
}

/** The values of an enumeration, which our library writes as a choice of constants. */
function literalsOf(schema: Record<string, unknown>): readonly unknown[] | null {
  if (Array.isArray(schema.enum)) return schema.enum.filter((value) => value !== null);
  if (!Array.isArray(schema.anyOf)) return null;
  const choices = schema.anyOf.map((choice) => schemaObject.parse(choice));
  const values = choices.flatMap((choice) => literalsOf(choice) ?? []);
  return values.length === 0 ? null : values;
}

function isNullable(schema: Record<string, unknown>): boolean {
  const choices = Array.isArray(schema.anyOf) ? schema.anyOf.map((choice) => schemaObject.parse(choice)) : [];
  return schema.nullable === true || choices.some(isNullable);
}

function missing(place: string, ours: readonly string[], theirs: readonly string[]): readonly string[] {
  return [
    ...theirs.filter((name) => !ours.includes(name)).map((name) => `${place}: published, not ours: ${name}`),
    ...ours.filter((name) => !theirs.includes(name)).map((name) => `${place}: ours, not published: ${name}`),
  ];
}

function differencesOf(place: string, ours: Shape | null, theirs: Shape | null): readonly string[] {
  if (ours === null || theirs === null) {
    if (ours === theirs) return [];
    return [`${place}: ${ours === null ? 'published, not ours' : 'ours, not published'}`];
  }
  const differences: string[] = [];
  const [ourParts, theirParts] = [partsOf(ours), partsOf(theirs)];
  differences.push(...missing(place, [...ourParts.keys()], [...theirParts.keys()]));
  for (const [name, part] of ourParts) {
    const other = theirParts.get(name);
    if (other !== undefined) differences.push(...differencesOf(`${place}.${name}`, part, other));
  }
  for (const key of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    if (key === 'properties' || key === 'items' || key === 'values') continue;
    const [our, their] = [JSON.stringify(ours[key]), JSON.stringify(theirs[key])];
    if (our !== their) differences.push(`${place}: ${key}: ours ${our}, published ${their}`);
  }
  return differences;
}

/** What a shape is made of, each with a name. */
function partsOf(shape: Shape): ReadonlyMap<string, Shape> {
  const parts = new Map<string, Shape>();
  for (const key of ['items', 'values']) {
    if (shape[key] !== undefined) parts.set(`(${key})`, schemaObject.parse(shape[key]));
  }
  for (const [name, property] of Object.entries(schemaObject.parse(shape.properties ?? {}))) {
    parts.set(name, schemaObject.parse(property));
  }
  return parts;
}
