import { RefusalError, refuse } from '../errors.ts';
import { isOutgoingEventType, OUTGOING_EVENT_TYPES, type OutgoingEventType } from './catalogue.ts';
import { isPublicAddress, literalAddress } from './embedded/addresses.ts';
import type { EndpointHeaders, EndpointInput, WebhookEndpoint } from './outgoing.ts';

/** What an endpoint may be, whoever delivers to it. The columns of `webhook_endpoint` have the same lengths. */
const MAX_URL_LENGTH = 2000;
const MAX_DESCRIPTION_LENGTH = 500;

/** Names that never leave the machine or the site. */
const LOCAL_NAME = /(^|\.)(localhost|local|internal|lan|home\.arpa)\.?$/i;

/** @throws RefusalError INVALID_REQUEST_BODY naming the field that the merchant must mend */
export function checkEndpoint(input: Partial<EndpointInput>, allowPrivate: boolean): void {
  if (input.url !== undefined) checkUrl(input.url, allowPrivate);
  const { description = '' } = input;
  if (description.length > MAX_DESCRIPTION_LENGTH || description.includes('\0')) {
    refuse('INVALID_REQUEST_BODY', `description: wants ${MAX_DESCRIPTION_LENGTH} characters or fewer.`);
  }
  for (const name of input.eventTypes ?? []) checkEventType(name, 'event_types');
  if (input.eventTypes?.length === 0) {
    refuse('INVALID_REQUEST_BODY', 'event_types: wants one event type or more, or null for all.');
  }
  if (input.headers !== undefined) checkHeaders(input.headers);
}

/**
 * Whether the endpoint would get a message of this type. Svix takes a message for an endpoint that would not and silently
 * sends nothing, so both senders look first.
 * @throws RefusalError CONFLICT with the reason
 */
export function refuseUnlessWanted({ disabled, eventTypes }: WebhookEndpoint, eventType: string): void {
  refuseDisabled(disabled);
  if (eventTypes === null || eventTypes.includes(eventType)) return;
  refuse('CONFLICT', `The endpoint does not subscribe to ${eventType}. Add it to its event_types first.`);
}

/** @throws RefusalError CONFLICT */
export function refuseDisabled(disabled: boolean): void {
  if (disabled) refuse('CONFLICT', 'The endpoint is disabled. Enable it first.');
}

/** As many secrets before the present one may sign at a time; Svix's limit. */
export const MAX_OLD_SECRETS = 10;
/** For so long after a rotation the secret before it signs too. */
export const OLD_SECRET_SECONDS = 86_400;

/** @throws RefusalError CONFLICT. @param freeAt when the oldest of the old secrets ends, if that is known */
export function refuseRotation(freeAt: Date | null): never {
  const until = freeAt === null ? '' : ` Rotate again after ${freeAt.toISOString()}.`;
  return refuse(
    'CONFLICT',
    `The secret was rotated ${MAX_OLD_SECRETS} times within 24 hours, which is the most, since each old one signs for as long.${until}`,
  );
}

/** What {@link checkEndpoint} would say; null if the endpoint may be. */
export function endpointProblem(input: Partial<EndpointInput>, allowPrivate: boolean): string | null {
  try {
    checkEndpoint(input, allowPrivate);
    return null;
  } catch (error) {
    if (error instanceof RefusalError) return error.refusal.message;
    throw error;
  }
}

/** @throws RefusalError INVALID_REQUEST_BODY naming the field and the event types there are */
export function checkEventType(name: string, field: string): OutgoingEventType {
  if (isOutgoingEventType(name)) return name;
  const known = OUTGOING_EVENT_TYPES.join(', ');
  return refuse('INVALID_REQUEST_BODY', `${field}: there is no event type ${name.slice(0, 100)}. Known: ${known}.`);
}

const MAX_HEADERS = 20;
const MAX_HEADER_VALUE_LENGTH = 2000;
/** Of all names and values together; servers take 8 KB of headers as a rule, and our own want room as well. */
const MAX_HEADERS_LENGTH = 6000;
/** A token of RFC 9110, section 5.6.2. */
const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/;
const HEADER_VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/**
 * Headers that belong to the message, to the connection or to those on the way. The first two lines are what Svix refuses
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
  const fail = (what: string) => refuse('INVALID_REQUEST_BODY', `headers: ${what}`);
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
  // Whitespace and control characters are what the URL parser would silently drop.
  if (url === null || text.length > MAX_URL_LENGTH || /[^\x21-\x7e]/.test(text)) {
    refuse('INVALID_REQUEST_BODY', `url: wants a URL of at most ${MAX_URL_LENGTH} plain characters.`);
  }
  if (url.protocol !== 'https:' && !(allowPrivate && url.protocol === 'http:')) {
    refuse('INVALID_REQUEST_BODY', 'url: wants an https URL.');
  }
  if (url.username !== '' || url.password !== '') {
    refuse('INVALID_REQUEST_BODY', 'url: must not hold a user name or password; verify the signature instead.');
  }
  if (allowPrivate) return;
  const literal = literalAddress(url.hostname);
  if (literal === null ? LOCAL_NAME.test(url.hostname) : !isPublicAddress(literal)) {
    refuse('INVALID_REQUEST_BODY', 'url: must lead to a public address.');
  }
}
