import type { ListedKind, Window } from './api.ts';

interface Kept<Page, Piece> {
  readonly key: string;
  readonly page: Page;
  readonly pieces: Map<string, Piece>;
}

/** The piece of this name: what `ask` answers, or what it answered in an earlier try. */
export type Once<Piece> = (name: string, ask: () => Promise<Piece>) => Promise<Piece>;

/**
 * What was read so far of a page that takes more requests than one. A provider may allow fewer in a time than a page
 * takes: were each try to begin anew, none would ever come to the end. Of one page at a time, and only until it is
 * complete, so that it holds no more than an answer would and tells no old news of another day.
 */
export class PageMemo<Page, Piece extends object | null> {
  #kept: Kept<Page, Piece> | null = null;

  /**
   * @param key which page it is; see {@link pageKey}
   * @param list asks for the page
   * @param complete makes the result of the page, and of pieces that it asks for
   */
  async read<Result>(
    key: string,
    list: () => Promise<Page>,
    complete: (page: Page, once: Once<Piece>) => Promise<Result>,
  ): Promise<Result> {
    const earlier = this.#kept?.key === key ? this.#kept : null;
    const kept = earlier ?? { key, page: await list(), pieces: new Map<string, Piece>() };
    this.#kept = kept;
    const result = await complete(kept.page, async (name, ask) => {
      const known = kept.pieces.get(name);
      if (known !== undefined) return known;
      const piece = await ask();
      kept.pieces.set(name, piece);
      return piece;
    });
    if (this.#kept === kept) this.#kept = null;
    return result;
  }
}

export function pageKey(kind: ListedKind, { since, until }: Window, cursor: string | null): string {
  return JSON.stringify([kind, since, until, cursor]);
}
