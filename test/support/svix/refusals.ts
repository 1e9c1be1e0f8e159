import type { z } from 'zod';

/** An answer of Svix: 204 and paths that are none have no body. */
export interface SvixReply {
  readonly status: number;
  readonly body: unknown;
}

/** Thrown where the server refuses; every shape and text is svix-server 1.100.0's, error.rs. */
export class SvixRefusal extends Error {
  readonly reply: SvixReply;

  constructor(reply: SvixReply) {
    super(JSON.stringify(reply.body));
    this.reply = reply;
  }
}

/** `HttpErrorOut`. */
export function refusal(status: number, code: string, detail: string): SvixRefusal {
  return new SvixRefusal({ status, body: { code, detail } });
}

export const notFound = (detail = 'Entity not found') => refusal(404, 'not_found', detail);
export const conflict = (detail = 'A conflict has occurred') => refusal(409, 'conflict', detail);

/** `HTTPValidationError`: `value_error` for a value that breaks a rule, `….jsondecode` for one that cannot be read. */
export function invalid(loc: readonly string[], msg: string, type = 'value_error'): SvixRefusal {
  return new SvixRefusal({ status: 422, body: { detail: [{ loc, msg, type }] } });
}

/** How the server calls a field in a refusal, where it says its own name for it instead of the API's. */
const FIELD_NAMES: Readonly<Record<string, string>> = {
  eventId: 'uid',
  eventType: 'event_type',
  eventTypes: 'event_types',
  throttleRate: 'throttle_rate',
  gracePeriodSeconds: 'grace_period_seconds',
  payloadRetentionPeriod: 'payload_retention_period',
  secret: 'key',
};
/** Fields of a type with rules of its own, which the server reports below the field. */
const WITH_OWN_RULES: ReadonlySet<string> = new Set(['uid', 'eventId', 'eventType', 'secret', 'key']);

/** Where the server says that a body's field breaks a rule. */
export function placeOf(field: string): readonly string[] {
  const name = FIELD_NAMES[field] ?? field;
  return ['body', name, ...(WITH_OWN_RULES.has(field) ? ['__all__'] : [])];
}

/** The refusal of a body that does not fit its schema: first what cannot be read, then what breaks a rule. */
export function refusalOfBody(issues: readonly z.core.$ZodIssue[], body: unknown, isExample = false): SvixRefusal {
  const unreadable = issues.find((issue) => issue.code === 'invalid_type' || isOutOfType(issue, body));
  if (unreadable !== undefined) {
    const [field, ...rest] = unreadable.path.map(String);
    const isMissing = unreadable.path.length === 1 && !hasField(body, field);
    if (field === undefined || isMissing) {
      const msg = field === undefined ? 'invalid type' : `missing field \`${field}\``;
      return invalid(['body', '', ''], msg, 'value_error.jsondecode');
    }
    // Svix reads a payload of any type and then refuses all but objects (message.rs, validate_raw_payload_is_object).
    if (field === 'payload') return invalid(['body', 'payload'], 'Payload must be an object.');
    return invalid(['body', field, ...rest], `${field}: invalid type`, 'value_error.jsondecode');
  }
  // `EventExampleIn` is read without its rules (endpoint/mod.rs): there is no type of such a name.
  if (isExample) return notFound();
  const detail = issues.map(({ path, message }) => {
    const field = String(path[0] ?? '');
    const loc = path.length > 1 ? ['body', FIELD_NAMES[field] ?? field, '__all__'] : placeOf(field);
    return { loc, msg: message, type: 'value_error' };
  });
  return new SvixRefusal({ status: 422, body: { detail: detail.slice(0, 1) } });
}

/** Numbers that the server's types do not hold (u16, u32), and times that are none, cannot be read. */
function isOutOfType({ path: [field] }: z.core.$ZodIssue, body: unknown): boolean {
  if (field === 'since' || field === 'until') return true;
  if (field !== 'throttleRate' && field !== 'gracePeriodSeconds') return false;
  const value = hasField(body, field) ? Number(Object.entries(body ?? {}).find(([name]) => name === field)?.[1]) : 0;
  return value < 0 || (field === 'throttleRate' && value > 65_535);
}

function hasField(body: unknown, field: string | undefined): boolean {
  return typeof body === 'object' && body !== null && field !== undefined && field in body;
}
