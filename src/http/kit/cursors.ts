import { type Place, readPlace } from '../../ledger/windows.ts';
import { readPairCursor } from '../../views/pages.ts';
import { turnAway } from './turn-away.ts';

/** Refuses a cursor that no page has given, or whose place in the list is gone. @throws {TurnedAwayError} INVALID_QUERY_PARAMS */
export function refuseCursor(): never {
  return turnAway('INVALID_QUERY_PARAMS', 'cursor: wants the next_cursor of the page before.');
}

/** The two names of a cursor, or null if there is none. @throws {TurnedAwayError} INVALID_QUERY_PARAMS */
export function pairOf(cursor: string | undefined): readonly [string, string] | null {
  return cursor === undefined ? null : (readPairCursor(cursor) ?? refuseCursor());
}

interface PlaceAsked {
  readonly cursor?: string | undefined;
  readonly currency?: string | undefined;
  readonly before_no?: number | undefined;
}

/** Where a page of what is numbered in its wallet begins; null for the newest. @throws {TurnedAwayError} INVALID_QUERY_PARAMS */
export function pageFrom({ cursor, currency, before_no: beforeNo }: PlaceAsked): Place | null {
  if (cursor !== undefined) return readPlace(cursor) ?? refuseCursor();
  return currency === undefined || beforeNo === undefined ? null : new Map([[currency, beforeNo]]);
}
