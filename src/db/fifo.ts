/** First in, first out, at the same price however many wait: `Array.shift` moves all that is left. */
export class Fifo<Item> {
  #items: (Item | undefined)[] = [];
  /** Where the first one stands; what is before it has left. */
  #first = 0;

  get length(): number {
    return this.#items.length - this.#first;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  /** The next one to leave, if there is any. */
  peek(): Item | undefined {
    return this.#items[this.#first];
  }

  shift(): Item | undefined {
    const item = this.#items[this.#first];
    if (item === undefined) return undefined;
    // What has left must not be held in memory: it may be a megabyte of news.
    this.#items[this.#first] = undefined;
    this.#first += 1;
    if (this.#first >= COMPACT_FROM && this.#first * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }
}

const COMPACT_FROM = 32;
