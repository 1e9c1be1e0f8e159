import fc from 'fast-check';

/** As much of JSON Schema as our OpenAPI document uses for what requests hold. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly propertyNames?: JsonSchema;
  readonly items?: JsonSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
  readonly format?: string;
}

/** JSON that no JavaScript value stands for: a number out of range, an object with a key twice. */
export class RawJson {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** `JSON.stringify` that knows {@link RawJson}, and takes `__proto__` for a key like any other. */
export function toJsonText(value: unknown): string {
  if (value instanceof RawJson) return value.text;
  if (Array.isArray(value)) return `[${value.map(toJsonText).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  return `{${Object.entries(value)
    .filter(([, one]) => one !== undefined)
    .map(([name, one]) => `${JSON.stringify(name)}:${toJsonText(one)}`)
    .join(',')}}`;
}

const HOSTILE_TEXTS = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  'a\udfffb',
  '\ufffe\uffff',
  '\r\nx-injected: 1',
  '\u202e\u0000',
  '__proto__',
  'constructor',
  'toString',
  "'; drop table wallet; --",
  '%s%n%00',
  '../../etc/passwd',
  '..',
  '{}',
  'null',
  '-1',
  '1e3',
  ' 1',
  '1.5',
  '٣',
  'NaN',
  '99999999999999999999',
  '2026-02-30T00:00:00Z',
  'x'.repeat(5000),
  '🪙'.repeat(600),
];

const HOSTILE_NUMBERS = [0, -0, -1, 0.1, 1.5, 2 ** 31, 2 ** 53, 2 ** 63, -(2 ** 63), 1e21, 1e308, 5e-324];

const HOSTILE_JSON = [
  '1e400',
  '-1e400',
  '123456789012345678901234567890',
  '9007199254740993',
  '0.30000000000000000000001',
  '{"__proto__":{"isAdmin":true}}',
  '{"constructor":{"prototype":{"isAdmin":true}}}',
  '{"toString":null,"valueOf":null,"toJSON":1}',
  '{"a":1,"a":2}',
  `${'['.repeat(2000)}${']'.repeat(2000)}`,
  `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`,
  `[${'0,'.repeat(5000)}0]`,
].map((text) => new RawJson(text));

/** Values that fit nowhere, or hardly. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(...HOSTILE_TEXTS),
  fc.constantFrom<unknown>(...HOSTILE_NUMBERS),
  fc.constantFrom<unknown>(...HOSTILE_JSON),
  fc.constantFrom<unknown>(null, true, false, [], {}, [[]], [null], ['x'], [1], { a: 1 }, { length: 1, 0: 'x' }),
  fc.jsonValue({ maxDepth: 2 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

/** Times that some parser between here and the database may not know. */
const MOMENTS = [
  '0000-01-01T00:00:00Z',
  '0000-01-01T00:00:00+23:59',
  '0001-01-01T00:00:00+23:59',
  '0001-01-01T00:00:00Z',
  '1969-12-31T23:59:59.999Z',
  '2024-02-29T12:00:00.123456789Z',
  '2026-03-08T02:30:00-05:00',
  '9999-12-31T23:59:59.999Z',
  '9999-12-31T23:59:59-23:59',
];

/**
 * Makes values for schemas of one document.
 * @param existing values by the name of a field or parameter that mean something to the service, such as ids
 */
export class SchemaValues {
  readonly #components: Readonly<Record<string, JsonSchema>>;
  readonly #existing: Readonly<Record<string, readonly string[]>>;

  constructor(
    components: Readonly<Record<string, JsonSchema>>,
    existing: Readonly<Record<string, readonly string[]>> = {},
  ) {
    this.#components = components;
    this.#existing = existing;
  }

  /** Values as the schema has them, at their limits as often as between them. */
  valid(schema: JsonSchema, name = ''): fc.Arbitrary<unknown> {
    const known = this.#existing[name];
    const made = this.#made(this.#resolved(schema), name);
    if (known === undefined || schema.enum !== undefined || schema.type === 'boolean') return made;
    return fc.oneof({ weight: 4, arbitrary: fc.constantFrom<unknown>(...known) }, { weight: 1, arbitrary: made });
  }

  /** Values that miss the schema in one place, or everywhere. */
  hostile(schema: JsonSchema, name = ''): fc.Arbitrary<unknown> {
    const resolved = this.#resolved(schema);
    const { anyOf, type, properties = {} } = resolved;
    if (anyOf !== undefined) {
      return fc.oneof(
        hostileValue,
        ...anyOf.filter((one) => one.type !== 'null').map((one) => this.hostile(one, name)),
      );
    }
    if (type === 'string') return fc.oneof(hostileValue, longText(resolved.maxLength ?? 400), shortText(resolved));
    if (type === 'integer' || type === 'number') return fc.oneof(hostileValue, beyond(resolved));
    if (type === 'array') {
      const { items = {} } = resolved;
      const one = fc.array(fc.oneof(this.valid(items), this.hostile(items)), { minLength: 1, maxLength: 4 });
      const many = this.valid(items).map((item) => Array.from({ length: (resolved.maxItems ?? 50) + 1 }, () => item));
      return fc.oneof({ weight: 2, arbitrary: hostileValue }, { weight: 4, arbitrary: one }, many);
    }
    if (type !== 'object' || resolved.properties === undefined) return hostileValue;
    const names = Object.keys(properties);
    const good = this.valid(resolved).map(asObject);
    const oneBad = fc
      .constantFrom(...names, 'unheardOf')
      .chain((bad) =>
        fc
          .tuple(good, this.hostile(properties[bad] ?? {}, bad))
          .map(([object, value]) => ({ ...object, [bad]: value })),
      );
    const without = fc.tuple(good, fc.subarray(names)).map(([object, gone]) => {
      const rest = Object.entries(object).filter(([key]) => !gone.includes(key));
      return Object.fromEntries(rest);
    });
    const poisoned = fc
      .tuple(
        good,
        fc.constantFrom('__proto__', 'constructor', 'merchant_id', 'business_id', 'balance', 'x'.repeat(300)),
      )
      .map(
        ([object, key]) => new RawJson(toJsonText(object).replace(/^\{/, `{"${key}":{"a":1},`).replace(/,\}$/, '}')),
      );
    return fc.oneof({ weight: 6, arbitrary: oneBad }, without, poisoned, hostileValue);
  }

  #resolved(schema: JsonSchema): JsonSchema {
    if (schema.$ref === undefined) return schema;
    const found = this.#components[schema.$ref.replace('#/components/schemas/', '')];
    if (found === undefined) throw new Error(`the document has no ${schema.$ref}`);
    return found;
  }

  #made(schema: JsonSchema, name: string): fc.Arbitrary<unknown> {
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
    if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map((one) => this.valid(one, name)));
    switch (schema.type) {
      case 'null':
        return fc.constant(null);
      case 'boolean':
        return fc.boolean();
      case 'integer':
        return within(schema);
      case 'number':
        return fc.double({ noNaN: true, noDefaultInfinity: true });
      case 'string':
        return fittingText(schema);
      case 'array': {
        const { items = {}, minItems = 0, maxItems = 10 } = schema;
        return fc.array(this.valid(items), { minLength: minItems, maxLength: Math.min(maxItems, 5) });
      }
      case 'object':
        return this.#object(schema);
      default:
        return fc.jsonValue({ maxDepth: 2 });
    }
  }

  #object({ properties, required = [], additionalProperties, propertyNames }: JsonSchema): fc.Arbitrary<unknown> {
    if (properties !== undefined) {
      const fields = Object.entries(properties).map(([name, one]) => [name, this.valid(one, name)] as const);
      return fc.record(Object.fromEntries(fields), { requiredKeys: [...required] });
    }
    const values = typeof additionalProperties === 'object' ? this.valid(additionalProperties) : hostileValue;
    return fc.dictionary(fittingText(propertyNames ?? { maxLength: 40 }), values, { maxKeys: 5 });
  }
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function within({ minimum = -(2 ** 53) + 1, maximum = 2 ** 53 - 1 }: JsonSchema): fc.Arbitrary<number> {
  const near = [minimum, Math.min(minimum + 1, maximum), maximum];
  return fc.oneof(
    fc.constantFrom(...near),
    fc.integer({ min: minimum, max: maximum }),
    fc.integer({ min: minimum, max: Math.min(minimum + 1000, maximum) }),
  );
}

function beyond({ minimum = 0, maximum = 2 ** 53 - 1 }: JsonSchema): fc.Arbitrary<unknown> {
  return fc.constantFrom<unknown>(minimum - 1, maximum + 1, minimum + 0.5, String(minimum), [minimum], -0);
}

const unit = fc.constantFrom(
  'a',
  'Z',
  '0',
  '-',
  '_',
  ' ',
  '"',
  '\\',
  "'",
  '%',
  'ä',
  'İ',
  'ß',
  'é',
  '\n',
  '\u202e',
  '貯',
  '🪙',
);

/** What texts have that may hold anything else. */
const WITHOUT_NUL = String.raw`^[^\u0000]*$`;

function fittingText({ format, pattern, minLength = 0, maxLength = 400 }: JsonSchema): fc.Arbitrary<string> {
  if (format === 'date-time') {
    const usual = fc.date({ min: new Date('2020-01-01'), max: new Date('2030-01-01'), noInvalidDate: true });
    return fc.oneof(
      { weight: 3, arbitrary: usual.map((date) => date.toISOString()) },
      { weight: 1, arbitrary: fc.constantFrom(...MOMENTS) },
    );
  }
  if (format === 'email') return fc.stringMatching(/^[A-Za-z0-9_+-]{1,20}@([a-z0-9]{1,10}\.){1,2}[a-z]{2,6}$/);
  if (format === 'uri') {
    return fc
      .webUrl({ validSchemes: ['https'] })
      .filter((url) => url.length <= maxLength && /^[\x21-\x7e]+$/.test(url));
  }
  if (pattern !== undefined && pattern !== WITHOUT_NUL) {
    return fc
      .stringMatching(new RegExp(pattern))
      .filter((text) => text.length >= minLength && text.length <= maxLength);
  }
  const short = fc.string({ unit, minLength, maxLength: Math.min(maxLength, Math.max(minLength, 20)) });
  const full = fc.constantFrom('x', 'ä').map((one) => one.repeat(maxLength));
  return fc
    .oneof({ weight: 5, arbitrary: short }, full)
    .filter((text) => text.length >= minLength && text.length <= maxLength);
}

function longText(maxLength: number): fc.Arbitrary<string> {
  return fc.constantFrom('x', '🪙', '\ud800', '"').map((one) => one.repeat(maxLength + 1));
}

function shortText({ minLength = 0 }: JsonSchema): fc.Arbitrary<string> {
  return fc.constant('x'.repeat(Math.max(0, minLength - 1)));
}
