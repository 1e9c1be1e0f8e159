import { z } from 'zod';
import { ERROR_STATUS, type ErrorCode } from '../../views/error-status.ts';
import type { PublicRefusal } from '../../views/refusals.ts';

export type Validated<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusal: PublicRefusal };

/** The most mistakes that an answer names: a body with a thousand mistakes must not cause a thousand lines. */
const MAX_ISSUES = 5;

/** Parses what came from outside. A mistake is refused with a message that names each field and what is wanted there. */
export function validate<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: ErrorCode,
): Validated<z.output<Schema>> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  const special = parsed.error.issues.map(codeOf).find((found) => found !== null);
  // What has two mistakes of one kind, such as a number that is no integer and too large, is named once.
  const lines = [...new Set(parsed.error.issues.flatMap((issue) => describe(issue, fieldsOf(schema))))];
  return { ok: false, refusal: { code: special ?? code, message: `${lines.slice(0, MAX_ISSUES).join('; ')}.` } };
}

/** A refinement may name a code of its own. */
function codeOf(issue: z.core.$ZodIssue): ErrorCode | null {
  if (issue.code !== 'custom') return null;
  const code: unknown = issue.params?.errorCode;
  return typeof code === 'string' && isErrorCode(code) ? code : null;
}

/** Whether a text is one of the API's error codes. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_STATUS, text);
}

/** The fields of an object; none of anything else. */
function fieldsOf(schema: z.ZodType): readonly string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function describe(issue: z.core.$ZodIssue, fields: readonly string[]): string[] {
  const at = pathText(issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const name = `${at === '' ? '' : `${at}.`}${key.slice(0, 100)}`;
      const meant = key.slice(0, 100).replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const isMeant = at === '' && meant !== key && fields.includes(meant);
      return `${name}: is not a known field${isMeant ? ` (is it ${meant}?)` : ''}`;
    });
  }
  if (at === '' && issue.code === 'invalid_type' && issue.expected === 'object') return ['body: wants a JSON object'];
  if (issue.code === 'invalid_key') return [`${at}: ${issue.issues[0]?.message ?? issue.message}`];
  if (issue.code === 'invalid_union') {
    // Of a union, the branch for the value's type has the more useful message.
    const closest = issue.errors.find((errors) => errors.every((error) => error.code !== 'invalid_type'))?.[0];
    return [`${at}: ${closest?.message ?? issue.message}`];
  }
  return [`${at === '' ? 'body' : at}: ${issue.message}`];
}

function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) =>
      typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${String(part).slice(0, 100)}`,
    )
    .join('');
}
