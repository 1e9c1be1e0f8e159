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
