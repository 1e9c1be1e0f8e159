import { strict as assert } from 'node:assert';
import { styleText } from 'node:util';

/** One line of the story. */
export interface Line {
  readonly who: string;
  readonly what: string;
  /** The wallet's balance afterwards, as people write it. */
  readonly balance?: string;
  /** The webhook the merchant received. */
  readonly heard?: string;
}

/** No text may fill its column: the next one would be pushed out of line. */
const WIDTHS = { who: 15, what: 66, balance: 14 };

/** Prints the story as aligned columns; coloured on a terminal, plain in a pipe or with NO_COLOR. */
export class Story {
  readonly #colour: boolean;

  constructor(stream: NodeJS.WriteStream = process.stdout) {
    this.#colour = stream.isTTY === true && process.env.NO_COLOR === undefined;
  }

  title(text: string): void {
    console.log(`\n${this.#paint('bold', text)}`);
  }

  note(text: string): void {
    console.log(this.#paint('dim', text));
  }

  header(): void {
    const { who, what, balance } = WIDTHS;
    console.log(
      this.#paint(
        'dim',
        `${'WHO'.padEnd(who)}${'WHAT'.padEnd(what)}${'BALANCE'.padStart(balance)}   THE MERCHANT HEARD`,
      ),
    );
  }

  line({ who, what, balance = '', heard = '' }: Line): void {
    assert(
      who.length < WIDTHS.who && what.length < WIDTHS.what && balance.length < WIDTHS.balance,
      `too long: ${what}`,
    );
    const left = this.#paint('cyan', who.padEnd(WIDTHS.who));
    const right = this.#paint('bold', balance.padStart(WIDTHS.balance));
    console.log(`${left}${what.padEnd(WIDTHS.what)}${right}   ${this.#paint('green', heard)}`.trimEnd());
  }

  #paint(style: 'bold' | 'dim' | 'cyan' | 'green', text: string): string {
    return this.#colour ? styleText(style, text, { validateStream: false }) : text;
  }
}
