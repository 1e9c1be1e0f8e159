import { styleText } from 'node:util';
import { formatTable } from '../views/table.ts';

/** The one place where the command line speaks: results to standard output, everything else to standard error. */

/**
 * Control characters, line separators, halves of surrogate pairs and marks that turn the direction of writing. Texts of
 * providers and customers are stored as they came; on a terminal these could move the cursor or disguise what stands there.
 */
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;
/** JSON escapes those below a space by itself; outside of texts it has line breaks alone. */
const UNSAFE_IN_JSON = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const MAX_CELL = 60;

/** The text with everything that a terminal would obey written as `\u{1b}`. */
export function printable(text: string): string {
  return text.replaceAll(UNSAFE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

export type Cell = string | number | null;

/** Rows as aligned columns, made safe to show. Long texts are cut: a list is an overview. */
export function table(header: readonly string[], rows: readonly (readonly Cell[])[], nothing: string): string {
  if (rows.length === 0) return nothing;
  const text = formatTable(
    header,
    rows.map((row) => row.map((cell) => (typeof cell === 'number' ? cell : cut(printable(cell ?? '–'))))),
  );
  const [titles = '', ...rest] = text.split('\n');
  return [heading(titles), ...rest].join('\n');
}

/** One thing by its properties, in full; those that are null are left out. */
export function properties(pairs: Readonly<Record<string, Cell>>): string {
  const shown = Object.entries(pairs).filter(([, value]) => value !== null);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(String(value))}`).join('\n');
}

/** Amounts as wide as the widest, so that their decimals stand below one another. */
export function alignRight(texts: readonly string[]): readonly string[] {
  const width = Math.max(0, ...texts.map((text) => text.length));
  return texts.map((text) => text.padStart(width));
}

/** Bold on a terminal, unless NO_COLOR is set. */
export function heading(text: string): string {
  return styleText('bold', text, { stream: process.stdout });
}

/** What stands below a result: the commands to go on with, one a line, ready to be copied; nothing if there are none. */
export function nextCommands(commands: readonly string[]): string {
  return commands.length === 0 ? '' : `\n\n${heading('Next')}\n${commands.map(printable).join('\n')}`;
}

/** To the second, which is what people compare. */
export function time(iso: string | null): string | null {
  return iso === null ? null : iso.replace(/\.\d+Z$/, 'Z');
}

/** Writes a line of the result to standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Writes the result as JSON. Characters that could control a terminal are escaped. */
export function printJson(value: unknown): void {
  const text = JSON.stringify(value, null, 2);
  print(text.replaceAll(UNSAFE_IN_JSON, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`));
}

/** Says something that is not the result, such as advice. */
export function note(text: string): void {
  if (isProgressShown) progressLine(null);
  process.stderr.write(`${text.split('\n').map(printable).join('\n')}\n`);
}

/** How often progress is written where the output is not a terminal. */
const PROGRESS_MS = 5_000;
/** Some terminals do not say how wide they are. */
const MIN_COLUMNS = 40;
let progressAtMs = Number.NEGATIVE_INFINITY;
let isProgressShown = false;

/** Shows progress: on a terminal one line that is overwritten, else a line now and then. Null clears the line. */
export function progressLine(text: string | null): void {
  const now = performance.now();
  if (process.stderr.isTTY) {
    process.stderr.write(
      `\r\u001b[K${text === null ? '' : cut(printable(text), Math.max(process.stderr.columns - 1, MIN_COLUMNS))}`,
    );
    isProgressShown = text !== null;
  } else if (text !== null && now - progressAtMs > PROGRESS_MS) {
    progressAtMs = now;
    note(text);
  }
}

/** Writes an error to standard error. */
export function printError(message: string): void {
  process.stderr.write(styleText('red', 'error: ', { stream: process.stderr }));
  note(message);
}

/** A reader may stop reading (`| head`). That is no failure, and the command goes on to its end. */
export function allowClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
}

function cut(text: string, maximum = MAX_CELL): string {
  const characters = [...text];
  return characters.length <= maximum ? text : `${characters.slice(0, maximum - 1).join('')}…`;
}
