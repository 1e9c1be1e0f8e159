import { bigint, text } from '../db/codec.ts';
import { rowsOf } from '../db/statement.ts';
import type { Wallet } from './entry.ts';

/**
 * How far a page of holds or of closed lots looks. Both are numbered in their wallet without gaps, so that a page of those which fit a
 * filter looks through so many numbers of each wallet and no more, however few of them fit; the next page goes on below. Pure.
 */

/** Some ten milliseconds of reading. */
export const NUMBERS_A_PAGE = 10_000;

/** The numbers of one wallet that a page looks at. */
interface Window {
  readonly currency: string;
  /** The lowest number, inclusive. */
  readonly lowest: number;
  /** The highest, exclusive. */
  readonly below: number;
}

/** As a parameter of statements. */
export const WINDOWS = rowsOf({ currency: text, lowest: bigint, below: bigint });

/** Where pages go on, by currency: below which number. Nothing is left of a wallet that is not named. */
export type Place = ReadonlyMap<string, number>;

/** The place of the first page. @param newestOf the number that was given last in a wallet; 0 before the first */
export function firstPlace(wallets: readonly Wallet[], newestOf: (wallet: Wallet) => number): Place {
  return new Map(wallets.map((wallet) => [wallet.currency, newestOf(wallet) + 1]));
}

/**
 * Where a page begins: at the newest, or where the page before stopped, of all wallets or of the one in a currency. Above the newest there
 * is nothing to look through, whatever a request names.
 */
export function pagePlace(newest: Place, from: Place | null, wanted: string | null): Place {
  const begun = [...(from ?? newest)].map(
    ([currency, below]) => [currency, Math.min(below, newest.get(currency) ?? 1)] as const,
  );
  return new Map(begun.filter(([currency, below]) => below > 1 && (wanted === null || currency === wanted)));
}

/** @param isSparse whether the page may have to look at many that do not fit for one that does */
export function windowsAt(place: Place, isSparse: boolean): readonly Window[] {
  return [...place].map(([currency, below]) => {
    return { currency, lowest: isSparse ? Math.max(1, below - NUMBERS_A_PAGE) : 1, below };
  });
}

interface PageFound {
  /** What the page holds, of each wallet the newest first. */
  readonly found: readonly { readonly currency: string; readonly number: number }[];
  readonly pageSize: number;
  /** How many that fit were skipped. */
  readonly skipped: number;
}

/** Where the next page begins; null where nothing is left, or it is not known because pages before were skipped in several wallets. */
export function nextPlace(windows: readonly Window[], { found, pageSize, skipped }: PageFound): Place | null {
  const isFull = found.length === pageSize;
  if (isFull && skipped > 0 && windows.length > 1) return null;
  const last = new Map(found.map(({ currency, number }) => [currency, number]));
  const next = windows
    .map(({ currency, lowest, below }) => [currency, isFull ? (last.get(currency) ?? below) : lowest] as const)
    .filter(([, number]) => number > 1);
  return next.length === 0 ? null : new Map(next);
}

/** A place as the text of a cursor, such as `USD.980~EUR.12`. */
export function placeText(place: Place): string {
  return [...place].map(([currency, number]) => `${currency}.${number}`).join('~');
}

/** The place that a cursor names; null if it is none. */
export function readPlace(cursor: string): Place | null {
  const parts = cursor.split('~').map((part) => /^([A-Z]{3})\.([1-9]\d{0,14})$/.exec(part));
  const place = new Map(parts.flatMap((part) => (part?.[1] === undefined ? [] : [[part[1], Number(part[2])]])));
  return place.size === parts.length ? place : null;
}
