import { z } from 'zod';
import type { Fact, Naming, ParkReason, Tie } from '../../payments/fact.ts';
import type { AmountProblem } from './currency.ts';
import { isPlainText, providerId } from './fields.ts';
import { type JsonResult, parseJson } from './json.ts';
import type { Interpretation, NamedPayment, PartialReading } from './provider.ts';

/** The result of reading one event, before its type is added. */
export type EventReading =
  | {
      readonly kind: 'facts';
      readonly facts: readonly Fact[];
      readonly naming?: Naming;
      readonly ties?: readonly Tie[];
      readonly livemode?: boolean;
    }
  | { readonly kind: 'ignored'; readonly reason: string; readonly payer?: string; readonly livemode?: boolean }
  | (PartialReading & {
      readonly kind: 'parked';
      readonly reason: ParkReason;
      readonly detail: string;
      readonly livemode?: boolean;
    });

export const tell = (...facts: readonly Fact[]): EventReading => ({ kind: 'facts', facts });
export const ignore = (reason: string): EventReading => ({ kind: 'ignored', reason });
export const park = (reason: ParkReason, detail: string, rest: PartialReading = {}): EventReading => {
  return { kind: 'parked', reason, detail, ...rest };
};

/** What `reading` tells, for somebody who handles it by hand, where its amounts are not known. */
export function withoutAmounts(reading: EventReading): PartialReading {
  if (reading.kind !== 'facts') return {};
  // A movement without an amount says nothing; every other fact may be told without one.
  return {
    facts: reading.facts.flatMap((fact): Fact[] =>
      fact.kind === 'movement' ? [] : [{ ...fact, amountMinor: null, isOfUnknownAmount: true }],
    ),
  };
}

/** The result of `readingOf` for an amount in our minor units; parked if the number at `path` could not be read as one. */
export function withAmount(
  path: string,
  amount: number | AmountProblem,
  readingOf: (amountMinor: number) => EventReading,
): EventReading {
  if (typeof amount === 'number') return readingOf(amount);
  return park(amount.reason, `${path}: ${amount.detail}`, withoutAmounts(readingOf(0)));
}

/** Reads the body of one type of event. Never throws. */
export type Reader = (body: unknown) => EventReading;

/** A reader that parks a body that `schema` refuses, and else gives the result of `readingOf`. */
export function reader<Event>(schema: z.ZodType<Event>, readingOf: (event: Event) => EventReading): Reader {
  return (body) => {
    const parsed = schema.safeParse(body);
    return parsed.success ? readingOf(parsed.data) : parkedBy(parsed.error);
  };
}

/** Marks a mistake as one in the merchant's metadata, which has a park reason of its own. */
export const INVALID_METADATA = { parkReason: 'invalid_metadata' } as const;

/** Names the wrong paths and what is wanted there, but never the values, which may be personal data. */
function parkedBy(error: z.ZodError): EventReading {
  const isMetadata = error.issues.every((issue) => issue.code === 'custom' && issue.params === INVALID_METADATA);
  const problems = error.issues.slice(0, 3).map((issue) => `${issue.path.join('.') || 'the body'}: ${issue.message}`);
  return park(isMetadata ? 'invalid_metadata' : 'malformed', problems.join('; ').slice(0, 500));
}

const EVENT_TYPE = z.string().min(1).max(200).refine(isPlainText);

export type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where providers put the type of an event in its body. */
type TypePath = 'type' | 'event' | 'event_type' | 'meta.event_name';

type ReadEvent = (eventType: string, body: JsonObject) => EventReading;

/** Parses a body and says what its event means, as {@link interpretJson} does. Never throws. */
export function interpretBody(rawBody: Buffer, typePath: TypePath, readingOf: ReadEvent): Interpretation {
  return interpretJson(parseJson(rawBody), typePath, readingOf);
}

/** Reads the event type of a parsed body from the field at `typePath`, and calls `readingOf` to read the event. */
export function interpretJson(json: JsonResult, typePath: TypePath, readingOf: ReadEvent): Interpretation {
  if (!json.ok) return { eventType: 'unknown', ...park('malformed', json.detail) };
  if (!isObject(json.value)) return { eventType: 'unknown', ...park('malformed', 'the body is not a JSON object') };
  const eventType = EVENT_TYPE.safeParse(valueAt(json.value, typePath));
  if (!eventType.success) return { eventType: 'unknown', ...park('malformed', `${typePath}: wants an event type`) };
  return { eventType: eventType.data, ...readingOf(eventType.data, json.value) };
}

/**
 * What reads events as `readingOf` does, and says which payment an event names that is parked.
 * @param namedIn null where it names none
 */
export function namingPayments(
  namedIn: (eventType: string, body: JsonObject) => NamedPayment | null,
  readingOf: ReadEvent,
): ReadEvent {
  return (eventType, body) => {
    const reading = readingOf(eventType, body);
    if (reading.kind !== 'parked' || reading.names !== undefined) return reading;
    const names = namedIn(eventType, body);
    return names === null ? reading : { ...reading, names };
  };
}

/** The first of these places that holds an id, or an object with one; null if none does. */
export function namedPayment(
  body: JsonObject,
  of: NamedPayment['of'],
  ...paths: readonly string[]
): NamedPayment | null {
  for (const path of paths) {
    const value = valueAt(body, path);
    const text = isObject(value) ? value.id : value;
    const id = providerId.safeParse(Number.isSafeInteger(text) ? String(text) : text);
    if (id.success) return { paymentId: id.data, of };
  }
  return null;
}

function valueAt(body: JsonObject, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), body);
}
