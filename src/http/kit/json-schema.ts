import { z } from 'zod';
import { invariant } from '../../errors.ts';
import { FIELD_EXAMPLES } from '../../views/examples.ts';

export type Json = Readonly<Record<string, unknown>>;

const COMPONENT = '#/components/schemas/';

/**
 * A zod schema as JSON Schema, whose named parts (`meta({ id })`) are moved to `components`.
 * @param io `input`: what a caller may send; `output`: what is answered
 */
export function toJsonSchema(schema: z.ZodType, io: 'input' | 'output', components: Record<string, unknown>): Json {
  const converted = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io,
    override: ({ zodSchema, jsonSchema }) => {
      if (io === 'input') {
        // zod leaves default and examples out if the value is transformed, so they are added here.
        const { default: given, examples } = z.globalRegistry.get(zodSchema) ?? {};
        if (given !== undefined) jsonSchema.default = given;
        if (Array.isArray(examples)) jsonSchema.examples = examples;
        return;
      }
      // Requests must not have unknown fields; answers may get more fields in later releases.
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      // `format` is enough: zod's pattern with every leap year is of no use to a reader.
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
    },
  });
  const { $defs = {}, ...rest } = definitions.parse(
    JSON.parse(JSON.stringify(converted).replaceAll('#/$defs/', COMPONENT)),
  );
  Object.assign(components, $defs);
  return withoutDialect(rest);
}

const definitions = z.looseObject({ $defs: z.record(z.string(), z.unknown()).optional() });

/** A JSON schema without `$schema`, which OpenAPI states once for the whole document. */
export function withoutDialect({ $schema: _dialect, ...schema }: Json): Json {
  return schema;
}

const described = z.looseObject({
  $ref: z.string().optional(),
  examples: z.array(z.unknown()).nonempty().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  items: z.unknown().optional(),
  anyOf: z.array(z.unknown()).nonempty().optional(),
  enum: z.array(z.unknown()).nonempty().optional(),
});

/**
 * A value such as a person would write: the schema's own example, or one made of the examples of its parts.
 * @param name of the field or parameter
 */
export function exampleOf(schema: unknown, components: Json, name = ''): unknown {
  const { $ref, examples, properties, items, anyOf, enum: values, ...rest } = described.parse(schema);
  if (examples !== undefined) return examples[0];
  if ($ref !== undefined) return exampleOf(components[$ref.slice(COMPONENT.length)], components, name);
  if (properties !== undefined) {
    const fields = Object.entries(properties).map(([field, one]) => [field, exampleOf(one, components, field)]);
    return Object.fromEntries(fields);
  }
  if (items !== undefined) return [exampleOf(items, components, name)];
  if (Object.hasOwn(FIELD_EXAMPLES, name)) return FIELD_EXAMPLES[name];
  if ('default' in rest) return rest.default;
  if ('const' in rest) return rest.const;
  if (values !== undefined) return values[0];
  invariant(anyOf !== undefined, `the API document has no example of ${name}`);
  return exampleOf(anyOf[0], components, name);
}
