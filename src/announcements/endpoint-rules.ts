import { RefusalError, refuse } from '../errors.ts';
import { isPublicAddress, literalAddress } from './addresses.ts';
import { isOutgoingEventType, OUTGOING_EVENT_TYPES, type OutgoingEventType } from './catalogue.ts';
import type { EndpointInput } from './outgoing.ts';

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
