import { RefusalError, refuse } from '../errors.ts';
import { isOutgoingEventType, OUTGOING_EVENT_TYPES, type OutgoingEventType } from './catalogue.ts';
import { isPublicAddress, literalAddress } from './embedded/addresses.ts';
import type { EndpointHeaders, EndpointInput, WebhookEndpoint } from './outgoing.ts';

/** The rules for endpoints, the same for both senders. The columns of `webhook_endpoint` have the same lengths. */
const MAX_URL_LENGTH = 2000;
const MAX_DESCRIPTION_LENGTH = 500;

/** Names that never leave the machine or the site. */
const LOCAL_NAME = /(^|\.)(localhost|local|internal|lan|home\.arpa)\.?$/i;

/** @throws {RefusalError} INVALID_FIELD with the name of the field that the merchant must correct */
export function checkEndpoint(input: Partial<EndpointInput>, allowPrivate: boolean): void {
  if (input.url !== undefined) checkUrl(input.url, allowPrivate);
  const { description = '' } = input;
  if (description.length > MAX_DESCRIPTION_LENGTH || description.includes('\0')) {
    refuse({
      code: 'INVALID_FIELD',
      field: 'description',
      wants: `wants ${MAX_DESCRIPTION_LENGTH} characters or fewer.`,
    });
  }
  for (const name of input.eventTypes ?? []) checkEventType(name, 'event_types');
  if (input.eventTypes?.length === 0) {
    refuse({ code: 'INVALID_FIELD', field: 'event_types', wants: 'wants one event type or more, or null for all.' });
  }
  if (input.headers !== undefined) checkHeaders(input.headers);
}

/**
 * Whether the endpoint would get a message of this type. Svix takes a message for an endpoint that would not and silently
 * sends nothing, so both senders look first.
 * @throws {RefusalError} ENDPOINT_DISABLED, ENDPOINT_NOT_SUBSCRIBED
 */
export function refuseUnlessWanted({ disabled, eventTypes }: WebhookEndpoint, eventType: string): void {
  refuseDisabled(disabled);
  if (eventTypes === null || eventTypes.includes(eventType)) return;
  refuse({ code: 'ENDPOINT_NOT_SUBSCRIBED', eventType });
}

/** @throws {RefusalError} ENDPOINT_DISABLED */
export function refuseDisabled(disabled: boolean): void {
  if (disabled) refuse({ code: 'ENDPOINT_DISABLED' });
}

/** How many old secrets may sign beside the present one; Svix's limit. */
export const MAX_OLD_SECRETS = 10;
/** For how long after a rotation the former secret signs too. */
export const OLD_SECRET_SECONDS = 86_400;

/**
 * @param freeAt when the oldest of the old secrets ends; null if that is not known
 * @throws {RefusalError} SECRET_ROTATED_TOO_OFTEN, always
 */
export function refuseRotation(freeAt: Date | null): never {
  return refuse({ code: 'SECRET_ROTATED_TOO_OFTEN', most: MAX_OLD_SECRETS, freeAt });
}

/** What {@link checkEndpoint} finds wrong, as a text; null if it accepts the endpoint. */
export function endpointProblem(input: Partial<EndpointInput>, allowPrivate: boolean): string | null {
  try {
    checkEndpoint(input, allowPrivate);
    return null;
  } catch (error) {
    if (!(error instanceof RefusalError) || error.refusal.code !== 'INVALID_FIELD') throw error;
    return `${error.refusal.field}: ${error.refusal.wants}`;
  }
}

/** @throws {RefusalError} INVALID_FIELD with the name of the field and the event types that exist */
export function checkEventType(name: string, field: string): OutgoingEventType {
  if (isOutgoingEventType(name)) return name;
  return refuse({ code: 'INVALID_FIELD', field, wants: `${noEventType(name)}.` });
}

/** Completes the sentence "<field>: …". @param name whatever was sent, which may be an object that cannot be written as a text */
export function noEventType(name: unknown): string {
  const named = typeof name === 'string' ? ` ${name.slice(0, 100)}` : '';
  return `there is no event type${named}. Known: ${OUTGOING_EVENT_TYPES.join(', ')}`;
}

const MAX_HEADERS = 20;
const MAX_HEADER_VALUE_LENGTH = 2000;
/** The length of all names and values together. Servers usually take 8 KB of headers, and ours need room as well. */
const MAX_HEADERS_LENGTH = 6000;
/** A token of RFC 9110, section 5.6.2. */
export const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/;
export const HEADER_VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/**
 * Headers that belong to the message, to the connection or to proxies on the way. The first two lines are what Svix refuses
 * (svix-server 1.100, `FORBIDDEN_KEYS` and `FORBIDDEN_PREFIXES`), so that endpoints can move between the senders.
 */
const RESERVED_HEADERS = new RegExp(
  [
    '^(?:user-agent|keep-alive|proxy-.*|te|trailers?|transfer-encoding|upgrade|age|cache-control|clear-site-data|expires|pragma|warning)$',
    '^(?:content-|x-amz-|x-amzn-|x-google|x-goog-|x-gfe|x-azure-|x-fd-|x-svix-|svix-)',
    '^(?:webhook-|host$|connection$|expect$|date$|http2-settings$)',
  ].join('|'),
  'i',
);

function checkHeaders(headers: EndpointHeaders): void {
  const fail = (wants: string) => refuse({ code: 'INVALID_FIELD', field: 'headers', wants });
  const pairs = Object.entries(headers);
  if (pairs.length > MAX_HEADERS) fail(`wants ${MAX_HEADERS} or fewer.`);
  if (new Set(pairs.map(([name]) => name.toLowerCase())).size < pairs.length) fail('one is there twice.');
  for (const [name, value] of pairs) {
    if (!HEADER_NAME.test(name)) fail('a name wants 1 to 100 letters, digits or dashes.');
    if (RESERVED_HEADERS.test(name)) fail(`${name} is not yours to set.`);
    if (value.length > MAX_HEADER_VALUE_LENGTH || !HEADER_VALUE.test(value)) {
      fail(`${name} wants 1 to ${MAX_HEADER_VALUE_LENGTH} plain characters, with no space around them.`);
    }
  }
  const length = pairs.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (length > MAX_HEADERS_LENGTH) fail(`want ${MAX_HEADERS_LENGTH} characters or fewer, all together.`);
}

function checkUrl(text: string, allowPrivate: boolean): void {
  const url = URL.parse(text);
  // The URL parser would silently drop whitespace and control characters.
  if (url === null || text.length > MAX_URL_LENGTH || /[^\x21-\x7e]/.test(text)) {
    refuse({
      code: 'INVALID_FIELD',
      field: 'url',
      wants: `wants a URL of at most ${MAX_URL_LENGTH} plain characters.`,
    });
  }
  if (url.protocol !== 'https:' && !(allowPrivate && url.protocol === 'http:')) {
    refuse({
      code: 'INVALID_FIELD',
      field: 'url',
      wants: 'wants an https URL. On your own machine, ALLOW_PRIVATE_ENDPOINTS=true allows http.',
    });
  }
  if (url.username !== '' || url.password !== '') {
    refuse({
      code: 'INVALID_FIELD',
      field: 'url',
      wants: 'must not hold a user name or password; verify the signature instead.',
    });
  }
  if (allowPrivate) return;
  const literal = literalAddress(url.hostname);
  if (literal === null ? LOCAL_NAME.test(url.hostname) : !isPublicAddress(literal)) {
    refuse({ code: 'INVALID_FIELD', field: 'url', wants: 'must lead to a public address.' });
  }
}
