/**
 * What a batch of events notes, so that what one of them noted can be forgotten. Kept as it was before each event instead, it would be copied
 * with each, which takes longer the more events there are.
 */
export class UndoLog {
  readonly #undone: (() => void)[] = [];

  /** To be called with what takes back each thing that is noted. */
  note(undo: () => void): void {
    this.#undone.push(undo);
  }

  /** @returns what takes back all that is noted from now on, the last first */
  mark(): () => void {
    const place = this.#undone.length;
    return () => {
      for (const undo of this.#undone.splice(place).toReversed()) undo();
    };
  }
}

/** A map whose changes are in such a log. What was deleted and comes back stands at the end. */
export class UndoMap<Key, Value extends object | true> {
  readonly #log: UndoLog;
  #map: Map<Key, Value>;

  constructor(log: UndoLog, entries: Iterable<readonly [Key, Value]> = []) {
    this.#log = log;
    this.#map = new Map(entries);
  }

  get size(): number {
    return this.#map.size;
  }

  has(key: Key): boolean {
    return this.#map.has(key);
  }

  get(key: Key): Value | undefined {
    return this.#map.get(key);
  }

  keys(): readonly Key[] {
    return [...this.#map.keys()];
  }

  entries(): readonly [Key, Value][] {
    return [...this.#map];
  }

  set(key: Key, value: Value): void {
    const map = this.#map;
    const before = map.get(key);
    this.#log.note(() => {
      if (before === undefined) map.delete(key);
      else map.set(key, before);
    });
    map.set(key, value);
  }

  delete(key: Key): void {
    const map = this.#map;
    const before = map.get(key);
    if (before === undefined) return;
    this.#log.note(() => void map.set(key, before));
    map.delete(key);
  }

  /** Empties it. @returns what was in it */
  takeAll(): readonly [Key, Value][] {
    const before = this.#map;
    if (before.size === 0) return [];
    this.#log.note(() => {
      this.#map = before;
    });
    this.#map = new Map();
    return [...before];
  }
}
