import { randomBytes } from 'node:crypto';
import { checkPage } from './rules.ts';

export interface StoredMessage {
  readonly id: string;
  readonly eventId: string | null;
  readonly eventType: string;
  readonly payload: unknown;
  readonly channels: readonly string[] | null;
  readonly createdAt: Date;
}

interface OldKey {
  readonly secret: string;
  readonly expiresAt: Date;
}

export interface StoredEndpoint {
  readonly id: string;
  uid: string | null;
  url: string;
  description: string;
  eventTypes: readonly string[] | null;
  channels: readonly string[] | null;
  throttleRate: number | null;
  disabled: boolean;
  metadata: Readonly<Record<string, string>>;
  secret: string;
  oldKeys: readonly OldKey[];
  headers: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  updatedAt: Date;
}

export interface StoredAttempt {
  readonly id: string;
  readonly msgId: string;
  readonly eventId: string | null;
  readonly endpointId: string;
  readonly url: string;
  readonly response: string;
  readonly responseStatusCode: number;
  readonly responseDurationMs: number;
  readonly statusText: 'success' | 'pending' | 'fail' | 'sending';
  readonly isManual: boolean;
  readonly createdAt: Date;
  readonly nextAttemptAt: Date | null;
}

export interface StoredApplication {
  readonly id: string;
  uid: string | null;
  name: string;
  throttleRate: number | null;
  metadata: Readonly<Record<string, string>>;
  readonly endpoints: Map<string, StoredEndpoint>;
  /** By their eventId; examples, which have none, by their id. */
  readonly messages: Map<string, StoredMessage>;
  /** In the order in which they ended. */
  readonly attempts: StoredAttempt[];
  readonly createdAt: Date;
  updatedAt: Date;
  /** What the worker knows of the endpoints' headers, and until when it looks no further: see messages.ts. */
  headersKnown: { readonly byEndpoint: ReadonlyMap<string, Readonly<Record<string, string>>>; untilMs: number } | null;
}

export interface StoredEventType {
  readonly name: string;
  readonly description: string;
  readonly archived: boolean;
  readonly deprecated: boolean;
  readonly schemas: Readonly<Record<string, Readonly<Record<string, unknown>>>> | null;
  readonly featureFlag: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID_LENGTH = 27;
let lastIds = 0n;

/** An id like Svix's: later ones sort after earlier ones. */
export function newSvixId(prefix: string): string {
  const next = (BigInt(Date.now()) << 96n) | (BigInt(`0x${randomBytes(4).toString('hex')}`) << 8n);
  lastIds = next > lastIds ? next : lastIds + 1n;
  let rest = lastIds;
  let text = '';
  while (text.length < ID_LENGTH) {
    text = (DIGITS[Number(rest % 62n)] ?? '') + text;
    rest /= 62n;
  }
  return `${prefix}${text}`;
}

export function newSecret(): string {
  return `whsec_${randomBytes(24).toString('base64')}`;
}

/** The entry of a map by its key, or else by another of its names. */
export function findBy<T>(map: ReadonlyMap<string, T>, key: string, matches: (entry: T) => boolean): T | undefined {
  return map.get(key) ?? [...map.values()].find(matches);
}

export interface PageRequest {
  readonly limit?: number | undefined;
  readonly iterator?: string | null | undefined;
  readonly order?: 'ascending' | 'descending' | null | undefined;
  readonly before?: string | null | undefined;
  readonly after?: string | null | undefined;
}

export interface PagedBy<T> {
  readonly prefix: string;
  readonly idOf: (item: T) => string;
  readonly createdAtOf?: (item: T) => Date;
  readonly order: 'ascending' | 'descending';
  readonly show: (item: T) => unknown;
  /** No page holds more, whatever it is asked for. */
  readonly pageSize: number;
}

const DEFAULT_LIMIT = 50;

/**
 * A page of a list, as v1/utils/mod.rs makes it (`apply_pagination`, `filter_and_paginate_time_limited`, `list_response`):
 * the iterator is the last item's id, one with `-` before it goes back, and with `after` alone the oldest come first.
 */
export function pageOf<T>(items: Iterable<T>, request: PageRequest, by: PagedBy<T>): Record<string, unknown> {
  const { limit = DEFAULT_LIMIT, iterator = null, before = null, after = null } = request;
  checkPage(limit, iterator, by.prefix);
  const most = Math.min(limit, by.pageSize);
  const isBackwards = iterator?.startsWith('-') ?? (before === null && after !== null);
  const isDescending = ((request.order ?? by.order) === 'descending') !== isBackwards;
  const from = iterator?.replace(/^-/, '');
  const found = [...items]
    .filter((item) => from === undefined || (isDescending ? by.idOf(item) < from : by.idOf(item) > from))
    .filter((item) => isWithin(by.createdAtOf?.(item), before, after))
    .sort((a, b) => compare(by.idOf(a), by.idOf(b)) * (isDescending ? -1 : 1));
  const data = found.slice(0, most);
  if (isBackwards) data.reverse();
  const [first, last] = [data[0], data.at(-1)];
  return {
    data: data.map(by.show),
    iterator: last === undefined ? null : by.idOf(last),
    ...(first === undefined ? {} : { prevIterator: `-${by.idOf(first)}` }),
    done: found.length <= most,
  };
}

function isWithin(at: Date | undefined, before: string | null, after: string | null): boolean {
  if (at === undefined) return true;
  return (before === null || at < new Date(before)) && (after === null || at >= new Date(after));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
