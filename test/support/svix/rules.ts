import { conflict, invalid, placeOf, refusal } from './refusals.ts';

/** What svix-server 1.100.0 refuses beyond its published description. Each rule names the function it was read in. */

/** axum's default limit of a body, which the server leaves alone: measured, 2,097,152 bytes pass and one more does not. */
const MAX_BODY_BYTES = 2_097_152;

/** v1/utils/mod.rs, `ValidatedJson`. */
export function checkBodySize(bytes: number): void {
  if (bytes > MAX_BODY_BYTES) throw refusal(413, 'payload_too_large', 'Request payload is too large.');
}

const ID_PREFIXES = { application: 'app_', endpoint: 'ep_', message: 'msg_' } as const;

/** core/types/mod.rs, `BaseUid::validate_`: a uid must not look like an id of its kind, and of its kind alone. */
export function checkUid(kind: keyof typeof ID_PREFIXES, uid: string | null | undefined): void {
  if (uid?.startsWith(ID_PREFIXES[kind])) {
    throw invalid(['body', 'uid', '__all__'], 'Uids are not allowed to have the same prefix as the ID. Prefix with _?');
  }
}

const NAME_PATTERN = /^[a-zA-Z0-9\-_.]+$/;

/** core/types/mod.rs, `validate_limited_str`: the description allows the empty name. */
export function checkName(name: string, field: string): void {
  if (name === '') throw invalid(placeOf(field), 'String must be at least one character');
}

/** v1/endpoints/message.rs, `create_message_inner`: only there is a path's application looked at before it is looked for. */
export function checkApplicationInPath(idOrUid: string): void {
  const place = ['path', 'app_id_or_uid', '__all__'];
  if (idOrUid.length > 256) throw invalid(place, 'String too long');
  if (!NAME_PATTERN.test(idOrUid)) {
    throw invalid(place, 'String must match the following pattern: [a-zA-Z0-9\\-_.].');
  }
}

const CONTROL_CHARACTERS = new RegExp(`[${String.fromCharCode(0)}-${String.fromCharCode(8)}]`);

/** v1/utils/mod.rs, `validate_no_control_characters`: names and descriptions. */
export function checkControlCharacters(field: string, text: string | undefined): void {
  if (text !== undefined && CONTROL_CHARACTERS.test(text)) {
    throw invalid(['body', field], 'Control characters 0x00-0x08 not allowed.');
  }
}

const MAX_METADATA_BYTES = 4096;

/** core/types/metadata.rs: measured as JSON. */
export function checkMetadata(metadata: Readonly<Record<string, string>> | undefined): void {
  if (metadata !== undefined && Buffer.byteLength(JSON.stringify(metadata)) > MAX_METADATA_BYTES) {
    const msg = 'metadata: metadata must be less than or equal to 4096 bytes';
    throw invalid(['body', 'metadata'], msg, 'value_error.jsondecode');
  }
}

/** v1/endpoints/application.rs, `validate_name_length_patch`. */
export function checkApplicationName(name: string | undefined): void {
  if (name === '') throw invalid(['body', 'name'], 'Application names must be at least one character');
}

/** `validate_rate_limit_patch` of applications and endpoints: the description of a change lets it be 0. */
export function checkThrottleRate(rate: number | null | undefined, what: 'Application' | 'Endpoint'): void {
  if (rate === 0) throw invalid(['body', 'throttle_rate'], `${what} rate limits must be at least 1 if set`);
}

/** v1/endpoints/endpoint/mod.rs, `validate_channels_endpoint`: the description of a change lets there be any number. */
export function checkChannels(channels: readonly string[] | null | undefined): void {
  if (channels === null || channels === undefined) return;
  if (channels.length < 1 || channels.length > 10) {
    throw invalid(['body', 'channels'], 'Channels must have at least 1 and at most 10 items, or be set to null.');
  }
}

/**
 * v1/endpoints/endpoint/mod.rs, `validate_url`; hosts are looked at when a webhook is sent. An endpoint's URL is kept as
 * the parser of URLs writes it: `https://a.example` comes back as `https://a.example/`.
 */
export function readUrl(text: string): string {
  if (!URL.canParse(text)) throw invalid(['body', 'url'], 'url: relative URL without a base', 'value_error.jsondecode');
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw invalid(['body', 'url'], 'Endpoint URL schemes must be http or https');
  }
  return url.href;
}

/** v1/endpoints/endpoint/mod.rs, `validate_event_types_ids`, and crud.rs, `validate_event_types`. */
export function checkEventTypes(wanted: readonly string[] | null | undefined, known: ReadonlySet<string>): void {
  if (wanted === null || wanted === undefined) return;
  if (wanted.length === 0) {
    throw invalid(['body', 'event_types'], "eventTypes can't be empty, it must have at least one item.");
  }
  for (const name of wanted) {
    if (name === '') throw invalid(['body', 'event_types', '__all__'], 'String must be at least one character');
  }
  const missing = wanted.filter((name) => !known.has(name));
  if (missing.length > 0) {
    throw invalid(['body', 'eventTypes'], `The following event types don't exist: ${missing.join(', ')}`);
  }
}

const SECRET_PREFIX = 'whsec_';
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const SECRET_BYTES = { least: 24, most: 75 };

/** core/types/mod.rs, `EndpointSecret`: the description lets the prefix be away, the server does not. */
export function checkSecret(secret: string | null | undefined, field: 'secret' | 'key'): void {
  if (secret === null || secret === undefined) return;
  if (!secret.startsWith(SECRET_PREFIX)) {
    throw invalid(['body', field], `${field}: invalid prefix`, 'value_error.jsondecode');
  }
  if (!BASE64.test(secret.slice(SECRET_PREFIX.length))) {
    throw invalid(['body', field], `${field}: Invalid symbol`, 'value_error.jsondecode');
  }
  const { length } = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
  if (length < SECRET_BYTES.least || length > SECRET_BYTES.most) {
    throw invalid(['body', 'key', '__all__'], 'secret length invalid');
  }
}

const MAX_OLD_KEYS = 10;

/** v1/endpoints/endpoint/secrets.rs, `rotate_key`. `expiries` of the old keys that would be valid afterwards, sorted. */
export function checkOldKeys(expiries: readonly Date[]): void {
  const [first] = expiries;
  if (first === undefined || expiries.length <= MAX_OLD_KEYS) return;
  const detail = `You can only rotate a key ${MAX_OLD_KEYS} times; please wait for old keys to expire. Your next key expires at ${first.toISOString()}.`;
  throw refusal(400, 'limit_reached', detail);
}

const FORBIDDEN_HEADERS: ReadonlySet<string> = new Set([
  ...['user-agent', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailers', 'transfer-encoding'],
  ...['upgrade', 'age', 'cache-control', 'clear-site-data', 'expires', 'pragma', 'warning', 'content-length'],
  ...['content-type', 'content-encoding', 'content-language', 'content-location'],
]);
const FORBIDDEN_HEADER_PREFIXES = [
  'x-amz-',
  'x-amzn-',
  'x-google',
  'x-goog-',
  'x-gfe',
  'x-azure-',
  'x-fd-',
  'x-svix-',
  'svix-',
];
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\u{10ffff}]*$/u;
const MAX_HEADER_BYTES = 4096;

/**
 * core/types/mod.rs, `validate_header_map` (PUT: refused as it is read) and `EndpointHeadersPatch` (PATCH: only the names
 * are looked at).
 */
export function checkHeaders(headers: Readonly<Record<string, string | null>>, how: 'put' | 'patch'): void {
  for (const [name, value] of Object.entries(headers)) {
    const fault = faultOfHeader(name) ?? (how === 'put' ? faultOfHeaderValue(value ?? '') : null);
    if (fault === null) continue;
    if (how === 'patch') throw invalid(['body', 'headers', '__all__'], fault);
    throw invalid(['body', 'headers'], `headers: __all__: ${fault}`, 'value_error.jsondecode');
  }
}

function faultOfHeader(name: string): string | null {
  const lower = name.toLowerCase();
  if (!HEADER_NAME.test(lower)) return 'Invalid Header Name.';
  if (FORBIDDEN_HEADERS.has(lower)) return 'Header uses a forbidden key.';
  const isForbidden = FORBIDDEN_HEADER_PREFIXES.some((prefix) => lower.startsWith(prefix));
  return isForbidden ? 'Header starts with a forbidden prefix.' : null;
}

function faultOfHeaderValue(value: string): string | null {
  if (!HEADER_VALUE.test(value)) return 'Invalid Header Value.';
  return Buffer.byteLength(value) > MAX_HEADER_BYTES ? 'Maximum header length is 4096 bytes' : null;
}

/** v1/endpoints/endpoint/mod.rs, `EndpointHeadersOut`: their values are not shown. */
export const SENSITIVE_HEADERS: ReadonlySet<string> = new Set([
  ...['x-auth-token', 'x-api-key', 'www-authenticate', 'authorization', 'proxy-authenticate', 'proxy-authorization'],
]);

const DAY_MS = 86_400_000;
const RECOVERABLE_MS = 14 * DAY_MS + 5 * 60_000;

/** v1/endpoints/endpoint/recovery.rs, `recover_failed_webhooks`. */
export function checkRecoverable(since: Date, until: Date): void {
  if (since.getTime() < until.getTime() - RECOVERABLE_MS) {
    throw invalid(['body', 'since'], 'Cannot recover more than 14 days of messages');
  }
}

/** v1/endpoints/message.rs, `validate_create_app_uid`: an application made along with a message or a link. */
export function checkApplicationAlong(idOrUid: string, uid: string | null | undefined): void {
  const place = ['body', 'application', 'uid'];
  if (uid === null || uid === undefined) {
    throw invalid(place, 'Application UID not set in body', 'application_uid_missing');
  }
  if (uid !== idOrUid) {
    throw invalid(place, 'Application UID in the path and body must match', 'application_uid_mismatch');
  }
}

/** The unique indexes on (organisation, uid), (application, uid) and (application, message's uid). */
export function checkUnique(isTaken: boolean, detail?: string): void {
  if (isTaken) throw conflict(detail);
}

const MAX_PAGE = 250;

/** v1/utils/mod.rs, `PaginationLimit`, and `BaseId::validate_` for iterators: any text after the prefix will do. */
export function checkPage(limit: number, iterator: string | null, prefix: string): void {
  if (limit > MAX_PAGE) throw invalid(['query', 'limit', 'limit'], 'Given limit must not exceed 250');
  if (iterator !== null && !iterator.replace(/^-/, '').startsWith(prefix)) {
    throw invalid(['query', 'iterator', '__all__'], 'Invalid id. Expected different prefix');
  }
}
