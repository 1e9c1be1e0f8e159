import type { ListedKind, Window } from './api.ts';

interface Kept<Page, Piece> {
  readonly key: string;
  readonly page: Page;
  readonly pieces: Map<string, Piece>;
}

/** The piece of this name: the answer of `ask`, or its answer in an earlier try. */
export type Once<Piece> = (name: string, ask: () => Promise<Piece>) => Promise<Piece>;

/**
 * Keeps what was read so far of a page that takes several requests. A provider may allow fewer requests at a time than a page
 * takes, so that no try would succeed if each began from the start. It keeps one page at a time and only until it is complete,
 * so that it needs little memory and never gives old data.
 */
export class PageMemo<Page, Piece extends object | null> {
  #kept: Kept<Page, Piece> | null = null;

  /**
   * @param key of the page; see {@link pageKey}
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

/** One text for one page of a list, so that a repeated request is recognised. */
export function pageKey(kind: ListedKind, { since, until }: Window, cursor: string | null): string {
  return JSON.stringify([kind, since, until, cursor]);
}
