import { z } from 'zod';
import type { Fact, ParkReason } from '../../payments/fact.ts';
import type { AmountProblem } from './currency.ts';
import { isPlainText } from './fields.ts';
import { parseJson, type Reviver } from './json.ts';
import type { Interpretation } from './provider.ts';

/** What one event says, before its type is added. */
export type Outcome =
  | { readonly kind: 'facts'; readonly facts: readonly Fact[]; readonly livemode?: boolean }
  | { readonly kind: 'ignored'; readonly reason: string; readonly livemode?: boolean }
  | { readonly kind: 'parked'; readonly reason: ParkReason; readonly detail: string; readonly livemode?: boolean };

export const tell = (...facts: readonly Fact[]): Outcome => ({ kind: 'facts', facts });
export const ignore = (reason: string): Outcome => ({ kind: 'ignored', reason });
export const park = (reason: ParkReason, detail: string): Outcome => ({ kind: 'parked', reason, detail });

/** What `outcomeOf` makes of an amount in our minor units; parked if the number at `path` could not be read as one. */
export function withAmount(
  path: string,
  amount: number | AmountProblem,
  outcomeOf: (amountMinor: number) => Outcome,
): Outcome {
  return typeof amount === 'number' ? outcomeOf(amount) : park(amount.reason, `${path}: ${amount.detail}`);
}

/** What an adapter makes of the body of one type of event. Never throws. */
export type Reader = (body: unknown) => Outcome;

/** A reader that parks a body which is not as `schema` wants it, and else says what `outcomeOf` makes of it. */
export function reader<Event>(schema: z.ZodType<Event>, outcomeOf: (event: Event) => Outcome): Reader {
  return (body) => {
    const parsed = schema.safeParse(body);
    return parsed.success ? outcomeOf(parsed.data) : parkedBy(parsed.error);
  };
}

/** Marks an issue of a schema as one of the merchant's metadata, which has a park reason of its own. */
export const INVALID_METADATA = { parkReason: 'invalid_metadata' } as const;

/** Names the paths that are wrong and what they want, never what stands there: that may be personal data. */
function parkedBy(error: z.ZodError): Outcome {
  const isMetadata = error.issues.every((issue) => issue.code === 'custom' && issue.params === INVALID_METADATA);
  const problems = error.issues.slice(0, 3).map((issue) => `${issue.path.join('.') || 'the body'}: ${issue.message}`);
  return park(isMetadata ? 'invalid_metadata' : 'malformed', problems.join('; ').slice(0, 500));
}

const EVENT_TYPE = z.string().min(1).max(200).refine(isPlainText);

export type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Parses a body, reads its event type from the field at `typePath`, and asks `outcomeOf` what the event says.
 * Never throws.
 */
export function interpretBody(
  rawBody: Buffer,
  typePath: 'type' | 'event' | 'event_type' | 'meta.event_name',
  outcomeOf: (eventType: string, body: JsonObject) => Outcome,
  reviver?: Reviver,
): Interpretation {
  const json = parseJson(rawBody, reviver);
  if (!json.ok) return { eventType: 'unknown', ...park('malformed', json.detail) };
  if (!isObject(json.value)) return { eventType: 'unknown', ...park('malformed', 'the body is not a JSON object') };
  const eventType = EVENT_TYPE.safeParse(valueAt(json.value, typePath));
  if (!eventType.success) return { eventType: 'unknown', ...park('malformed', `${typePath}: wants an event type`) };
  return { eventType: eventType.data, ...outcomeOf(eventType.data, json.value) };
}

function valueAt(body: JsonObject, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), body);
}
