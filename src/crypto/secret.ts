import { hash, timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

/** A text that is printed as stars, so that no log shows it by accident. Only `reveal` gives the text itself. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  /** Whether both hold the same text. The time that it takes does not depend on either. */
  equals(other: Secret): boolean {
    return timingSafeEqual(hash('sha256', this.#text, 'buffer'), hash('sha256', other.#text, 'buffer'));
  }

  toString(): string {
    return '****';
  }

  toJSON(): string {
    return '****';
  }

  [inspect.custom](): string {
    return '****';
  }
}
