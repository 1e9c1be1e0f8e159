import { z } from 'zod';
import { MAX_OFFSET } from '../ledger/history.ts';
import { type Place, placeText } from '../ledger/windows.ts';
import { text } from './fields.ts';

/** Lists in pages: how far a page may lie, and the cursor that goes on from there. */

/** Beside `paging`: where a page begins, however long the list is. */
export const cursor = text(1_000, 1).optional().meta({
  description:
    'The `next_cursor` of the page before: pages that nothing new shifts, as far as the list reaches. `page_number` then counts from there.',
});

/** Whether a page does not lie too far behind: all that is before it is read to be skipped. */
export const isInReach = (query: { page_size: number; page_number?: number | undefined }) =>
  (query.page_number ?? 0) * query.page_size <= MAX_OFFSET;

export const BEYOND_REACH = {
  path: ['page_number'],
  error: `reaches beyond ${MAX_OFFSET} items; use cursor with the next_cursor of the page before, or a filter`,
};

/** The schema of a page with a cursor: `{ items, next_cursor }`. */
export function pageOfItems<Item extends z.ZodType>(item: Item, example: string) {
  const next = z.string().optional();
  return z.strictObject({
    items: z.array(item),
    next_cursor: next.meta({ description: 'For the next page; absent on the last.', examples: [example] }),
  });
}

/** A page's items, and the cursor of the next if this one is full. */
export function pageResponse<Found, Shown>(
  found: readonly Found[],
  pageSize: number,
  { show, cursorOf }: { readonly show: (one: Found) => Shown; readonly cursorOf: (last: Found) => string },
): { items: Shown[]; next_cursor?: string } {
  const last = found.at(-1);
  const isLast = last === undefined || found.length < pageSize;
  return { items: found.map(show), ...(isLast ? {} : { next_cursor: cursorOf(last) }) };
}

/** A page whose next one begins where it stopped looking, be it full or not. */
export function soughtResponse<Shown>(items: Shown[], next: Place | null): { items: Shown[]; next_cursor?: string } {
  return { items, ...(next === null ? {} : { next_cursor: placeText(next) }) };
}

const pair = z.tuple([z.string(), z.string()]);

/** A cursor of two names, which may hold any sign. */
export function pairCursor(first: string, second: string): string {
  return Buffer.from(JSON.stringify([first, second])).toString('base64url');
}

/** The two names of such a cursor; null if it is none. */
export function readPairCursor(given: string): readonly [string, string] | null {
  try {
    return pair.parse(JSON.parse(Buffer.from(given, 'base64url').toString()));
  } catch {
    return null;
  }
}
