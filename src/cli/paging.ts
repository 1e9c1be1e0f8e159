import type { Place } from '../ledger/windows.ts';
import { takes, UsageError } from './command.ts';
import { count } from './values.ts';

/** Lists that may be long are shown in pages, newest first. */

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 1000;
/** How far into a list a page may begin: the database reads everything before it to skip it. */
const MAX_SKIPPED = 100_000;

export const limitOption = takes(
  '--limit <count>',
  `how many at most (default: ${DEFAULT_LIMIT})`,
  count(1, MAX_LIMIT).default(DEFAULT_LIMIT),
);

export const pageOptions = {
  limit: limitOption,
  page: takes('--page <number>', 'which page of so many, from 1 (default: 1)', count(1, MAX_SKIPPED + 1).default(1)),
};

/** The page as lists are asked for it. @throws {UsageError} if all that lies before it would take long to skip */
export function toPage({ limit, page }: { limit: number; page: number }): { pageSize: number; pageNumber: number } {
  if ((page - 1) * limit > MAX_SKIPPED) {
    throw new UsageError(`--page: reaches beyond ${MAX_SKIPPED} items; narrow the list instead`);
  }
  return { pageSize: limit, pageNumber: page - 1 };
}

/** Where a list of what is numbered in its wallet begins; null for the newest. */
export function placeBefore(currency: string | undefined, before: number | undefined): Place | null {
  return currency === undefined || before === undefined ? null : new Map([[currency, before]]);
}

/** Looks on, page by page, until so many are found or nothing is left. */
export async function foundInWindows<Item>(
  first: Place | null,
  limit: number,
  look: (
    from: Place | null,
    pageSize: number,
  ) => Promise<{ readonly items: readonly Item[]; readonly next: Place | null }>,
): Promise<readonly Item[]> {
  const found: Item[] = [];
  let from = first;
  do {
    const { items, next } = await look(from, limit - found.length);
    found.push(...items);
    from = next;
  } while (from !== null && found.length < limit);
  return found;
}

/** What stands below a page that is full: how to see what may follow it. */
export function moreAfter(shown: number, limit: number, next: string): string {
  return shown < limit ? '' : `\n\nFor more, repeat it with ${next}.`;
}
