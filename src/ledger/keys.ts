import { invariant } from '../errors.ts';

/*
 * Idempotency keys of entries: no other file makes one or takes one apart.
 *
 * Before its first colon, a key names who made it: `api`, for what a merchant chose, or the id of a source, for what that
 * source's payments post. No source is called `api` (the database wants `src_…`), so whatever a merchant writes, it is
 * never taken for a payment's key. What was scheduled has `sched` there, what a checkout takes `checkout`. Another maker of keys wants a first word that none of them can have.
 */

const API = 'api';

/**
 * How a payment's keys are written. A payment keeps the version it was first stored with, and so all its keys.
 * 1: kind and ids joined by `_`, as they stand: the refund `c` of `a_b` and the refund `b_c` of `a` have one key.
 * 2: joined by `:`, with `%`, `:` and `#` in ids written as %25, %3A and %23: no two things have one key.
 */
export type KeyVersion = 1 | 2;

/** The version of payments that this release is the first to store; the column's default is that of the release before. */
export const KEY_VERSION: KeyVersion = 2;

/**
 * What a payment posts entries for: its own success, a refund or dispute of it, or that it was given to another customer, each for what was
 * paid and for the bonus. And what it places holds for: a dispute that is open.
 */
export type PostingCause =
  | {
      readonly sourceId: string;
      readonly kind: 'payment' | 'bonus' | 'moved' | 'moved_bonus';
      readonly paymentId: string;
    }
  | {
      readonly sourceId: string;
      readonly kind: 'refund' | 'dispute' | 'bonus_refund' | 'bonus_dispute' | 'hold_dispute';
      readonly paymentId: string;
      readonly partId: string;
    };

/** What a key says; of version 1 nothing can be told from it, since ids may hold what joins them. */
export type ParsedKey =
  | { readonly maker: 'api'; readonly key: string }
  | { readonly maker: 'payment'; readonly cause: PostingCause; readonly number: number };

/** The key that an API request's own key is stored as. */
export function requestKey(key: string): string {
  return `${API}:${key}`;
}

/** A condition in SQL that is true of such keys alone. */
export const isRequestKeySql = (key: string) => `starts_with(${key}, '${API}:')`;

/** The own key, by a batch's, of an entry that has none; the API documents it, so merchants may write it themselves. */
export function batchEntryKey(batchKey: string, place: number): string {
  return `${batchKey}/${place}`;
}

/**
 * The key of an entry that a payment causes.
 * @param number 1 for the first entry of this cause, and so on: what undoes or adds to it has a key of its own
 * @throws {InvariantError} for a source named `api`, whose keys would be those of requests
 */
export function paymentKey(version: KeyVersion, cause: PostingCause, number: number): string {
  const { sourceId, kind, paymentId } = cause;
  invariant(sourceId !== API, 'a source has the name that keeps the keys of requests apart');
  const ids = 'partId' in cause ? [paymentId, cause.partId] : [paymentId];
  const first =
    version === 1
      ? `${sourceId}:${[kind, ...ids].join('_')}`
      : [sourceId, kind, ...ids].map((part) => part.replace(/[%:#]/g, encodeURIComponent)).join(':');
  return number === 1 ? first : `${first}#${number}`;
}

/**
 * The key of the two entries, one in each wallet, by which a payment goes to another customer. Of one form whatever the
 * version of the payment's own keys, none of which begin like it.
 * @param number 1 for the payment's first move, and so on
 * @throws {InvariantError} as {@link paymentKey} does
 */
export function moveKey(sourceId: string, paymentId: string, number: number): string {
  return paymentKey(2, { sourceId, kind: 'moved', paymentId }, number);
}

/** As {@link moveKey}, of the entries by which the bonus of a payment goes with it. */
export function movedBonusKey(sourceId: string, paymentId: string, number: number): string {
  return paymentKey(2, { sourceId, kind: 'moved_bonus', paymentId }, number);
}

/**
 * The key of an entry for the bonus of a payment, or for what a refund or dispute takes of it. Of one form whatever the version of the
 * payment's own keys, none of which begin like it.
 * @throws {InvariantError} as {@link paymentKey} does
 */
export function bonusKey(
  sourceId: string,
  { paymentId, part }: { readonly paymentId: string; readonly part?: { kind: 'refund' | 'dispute'; partId: string } },
  number: number,
): string {
  if (part === undefined) return paymentKey(2, { sourceId, kind: 'bonus', paymentId }, number);
  return paymentKey(2, { sourceId, kind: `bonus_${part.kind}`, paymentId, partId: part.partId }, number);
}

/**
 * The key of a hold for an open dispute of a payment. Of one form whatever the version of the payment's own keys: holds and entries
 * have their keys apart.
 * @param number 1 for the first hold of the dispute, and so on
 * @throws {InvariantError} as {@link paymentKey} does
 */
export function disputeHoldKey(
  sourceId: string,
  { paymentId, partId }: { readonly paymentId: string; readonly partId: string },
  number: number,
): string {
  return paymentKey(2, { sourceId, kind: 'hold_dispute', paymentId, partId }, number);
}

const CHECKOUT = 'checkout';

/** What is done in a wallet for a checkout. The hold's key is of a space of its own, as all keys of holds are. */
export type CheckoutCause = 'hold' | 'capture' | 'collect';

/** The key of a checkout's hold, of what is captured for it, and of what is collected later. No source is called so (the database wants `src_…`). */
export function checkoutKey(checkoutId: string, cause: CheckoutCause): string {
  return `${CHECKOUT}:${checkoutId}:${cause}`;
}

const SCHEDULED = 'sched';

/** The key of the entry that a scheduled entry posts. No source is called so (the database wants `src_…`). */
export function scheduledEntryKey(scheduledEntryId: string): string {
  return `${SCHEDULED}:${scheduledEntryId}`;
}

/** {@link scheduledEntryKey} as an SQL expression, and a condition that is true of such keys alone. */
export const scheduledKeySql = (id: string) => `'${SCHEDULED}:' || ${id}`;
export const isScheduledKeySql = (key: string) => `starts_with(${key}, '${SCHEDULED}:')`;

/** A period of a grant schedule, of which an id has letters, digits, `_` and `-` alone. */
export interface GrantPeriod {
  readonly currency: string;
  readonly scheduleId: string;
  readonly incarnation: number;
  readonly period: number;
}

/** The key of what a period grants. It has no colon, as every other key does; read from its ends it can be taken apart in one way only. */
export function grantKey({ currency, scheduleId, incarnation, period }: GrantPeriod): string {
  return `grant_${currency}_${scheduleId}_${incarnation}_${period}`;
}

/**
 * The key of a top-up by which a period is paid.
 * @param attempt 1 for the first, and so on: one that comes to nothing is followed by another
 */
export function refillKey(period: GrantPeriod, attempt: number): string {
  return attempt === 1 ? grantKey(period) : `${grantKey(period)}#${attempt}`;
}

/** {@link refillKey} taken apart; null for any other key. */
export function parseRefillKey(key: string): (GrantPeriod & { readonly attempt: number }) | null {
  const [, first = '', count = '1'] = /^([^#]*)(?:#([2-9]))?$/.exec(key) ?? [];
  const period = parseGrantKey(first);
  return period === null ? null : { ...period, attempt: Number(count) };
}

/** {@link grantKey} taken apart; null for any other key. */
export function parseGrantKey(key: string): GrantPeriod | null {
  const match = GRANT_KEY.exec(key);
  const [, currency, scheduleId, incarnation, period] = match ?? [];
  if (currency === undefined || scheduleId === undefined) return null;
  return { currency, scheduleId, incarnation: Number(incarnation), period: Number(period) };
}

const GRANT_KEY = /^grant_([A-Z]{3})_([A-Za-z0-9_-]{1,64})_([1-9]\d*)_(0|[1-9]\d*)$/;

/** The same in SQL, on a key's text: its parts as an array of text, null for any other key. */
export const grantKeyPartsSql = (key: string) =>
  `regexp_match(${key}, '^grant_([A-Z]{3})_([A-Za-z0-9_-]{1,64})_([1-9][0-9]*)_(0|[1-9][0-9]*)$')`;

/** The same of a {@link refillKey}, without the number of its attempt. */
export const refillKeyPartsSql = (key: string) =>
  `regexp_match(${key}, '^grant_([A-Z]{3})_([A-Za-z0-9_-]{1,64})_([1-9][0-9]*)_(0|[1-9][0-9]*)(?:#[2-9])?$')`;

/** @returns null for a payment's key of version 1, and for what is no key of ours */
export function parseKey(text: string): ParsedKey | null {
  if (text.startsWith(`${API}:`)) return { maker: 'api', key: text.slice(API.length + 1) };
  const [, first = '', count = '1'] = /^([^#]*)(?:#(\d+))?$/.exec(text) ?? [];
  const parts = first.split(':').map((part) => part.replace(/%(?:25|3A|23)/g, decodeURIComponent));
  const cause = toCause(parts);
  const number = Number(count);
  // Whatever is not as it would have been made, such as `#1`, is not ours.
  const isOurs = cause !== null && cause.sourceId !== API && paymentKey(2, cause, number) === text;
  return isOurs ? { maker: 'payment', cause, number } : null;
}

function toCause([sourceId = '', kind, paymentId = '', partId = '']: readonly string[]): PostingCause | null {
  switch (kind) {
    case 'payment':
    case 'bonus':
    case 'moved':
    case 'moved_bonus':
      return { sourceId, kind, paymentId };
    case 'refund':
    case 'dispute':
    case 'bonus_refund':
    case 'bonus_dispute':
    case 'hold_dispute':
      return { sourceId, kind, paymentId, partId };
    default:
      return null;
  }
}

/** SQL of ours for each half of a key, such as a column's name; `partId` is null where the kind is `payment`. */
export interface KeySql {
  readonly sourceId: string;
  readonly kind: string;
  readonly paymentId: string;
  readonly partId: string;
  readonly number: string;
}

/** {@link paymentKey} as an SQL expression, for whoever looks at all payments. */
export function paymentKeySql(version: KeyVersion, { sourceId, kind, paymentId, partId, number }: KeySql): string {
  const escaped = (id: string) => `replace(replace(replace(${id}, '%', '%25'), ':', '%3A'), '#', '%23')`;
  // concat_ws leaves out what is null.
  const first =
    version === 1
      ? `${sourceId} || ':' || concat_ws('_', ${kind}, ${paymentId}, ${partId})`
      : `concat_ws(':', ${escaped(sourceId)}, ${kind}, ${escaped(paymentId)}, ${escaped(partId)})`;
  return `(${first} || case when ${number} = 1 then '' else '#' || ${number} end)`;
}
