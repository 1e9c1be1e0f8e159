import { z } from 'zod';
import type { JsonSchema } from './json-schema-values.ts';

/** Our OpenAPI document as a client reads it: what may be sent to every operation, and what may be answered. */

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required: boolean;
  readonly schema: JsonSchema;
}

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema?: JsonSchema; readonly examples?: object }>>;
}

export interface Operation {
  /** `post /customers` */
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly key: 'merchant' | 'admin' | 'none';
  readonly parameters: readonly Parameter[];
  /** Null where no body is wanted; `raw` where any bytes are. */
  readonly body: JsonSchema | 'raw' | null;
  /** Throws for an answer that the document does not allow. */
  expectDocumented(answer: RawAnswer): void;
}

export interface RawAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
}

interface DocumentedOperation {
  readonly security?: readonly Readonly<Record<string, unknown>>[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content>>;
}

export function operationsOf({ paths, components }: OpenApiDocument): readonly Operation[] {
  const defs = JSON.parse(JSON.stringify(components.schemas).replaceAll('#/components/schemas/', '#/$defs/'));
  /** As zod reads it, so that a mistake in our own document shows like one in an answer. */
  const validatorOf = (schema: JsonSchema) => {
    const text = JSON.stringify(schema).replaceAll('#/components/schemas/', '#/$defs/');
    return z.fromJSONSchema({ ...JSON.parse(text), $defs: defs });
  };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Operation => {
      const { requestBody, parameters = [], responses } = operation;
      const documented = Object.entries(responses).map(([status, { content }]) => {
        const { schema, examples } = content?.['application/json'] ?? {};
        if (schema === undefined) return [Number(status), null] as const;
        return [Number(status), { validator: validatorOf(schema), codes: Object.keys(examples ?? {}) }] as const;
      });
      const name = `${method} ${path}`;
      return {
        name,
        method: method.toUpperCase(),
        path,
        key: keyOf(operation),
        parameters,
        body: requestBody === undefined ? null : (requestBody.content?.['application/json']?.schema ?? 'raw'),
        expectDocumented: (answer) => expectDocumented(name, new Map(documented), answer),
      };
    }),
  );
}

function keyOf({ security }: DocumentedOperation): Operation['key'] {
  if (security === undefined) return 'merchant';
  const [first] = security;
  if (first === undefined) return 'none';
  return 'ADMIN_KEY' in first ? 'admin' : 'merchant';
}

interface DocumentedAnswer {
  readonly validator: z.ZodType;
  /** Of an error: the codes that have a sample. */
  readonly codes: readonly string[];
}

function expectDocumented(
  name: string,
  documented: ReadonlyMap<number, DocumentedAnswer | null>,
  { status, contentType, text }: RawAnswer,
): void {
  const found = documented.get(status);
  if (found === undefined) throw new Error(`${name} answers ${status}, which is not documented: ${text}`);
  if (found === null) {
    if (text !== '') throw new Error(`${name} answers ${status} with a body, where none is documented: ${text}`);
    return;
  }
  if (contentType !== 'application/json; charset=utf-8') throw new Error(`${name} answers with ${contentType}`);
  const body: unknown = JSON.parse(text);
  const { success, error } = found.validator.safeParse(body);
  if (!success)
    throw new Error(`${name} answers ${status} in a form that is not documented: ${error.message}\n${text}`);
  if (status < 400) return;
  const { code } = z.object({ code: z.string() }).parse(body);
  if (!found.codes.includes(code))
    throw new Error(`${name} answers ${status} ${code}, which is not documented: ${text}`);
}
