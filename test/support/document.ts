/** What a page of documentation shows: commands, what they print, and files, in the order in which a reader meets them. */

export interface Commands {
  readonly kind: 'commands';
  readonly line: number;
  readonly text: string;
  /** In which terminal they are typed; the word after `sh`. */
  readonly terminal: string;
  /** They go on until somebody stops them. */
  readonly stays: boolean;
  /** What they print, where the page shows it. `…` stands for anything within a line, or for any lines where it is alone. */
  readonly printed: string | null;
}

interface ShownFile {
  readonly kind: 'file';
  readonly name: string;
  readonly text: string;
}

const FENCE = /^```(?<language>\w+)(?: (?<words>[\w ]+))?\n(?<text>[\s\S]*?)^```$/gm;
const OUTPUT: ReadonlySet<string> = new Set(['text', 'json']);
/** A file's name is the last that stands in backticks before its text. */
const FILE_NAME = /`([\w-]+\.m?[jt]s)`[^`]*:\n\n$/;

/** @throws {Error} if the page shows code that is in no named file, or output that no command printed */
export function readDocument(page: string): readonly (Commands | ShownFile)[] {
  const parts: (Commands | ShownFile)[] = [];
  let isAfterCommands = false;
  for (const match of page.matchAll(FENCE)) {
    const { language = '', words = '', text = '' } = match.groups ?? {};
    const line = page.slice(0, match.index).split('\n').length;
    const last = parts.at(-1);
    if (language === 'sh') {
      const [terminal = 'main', stays] = words === '' ? [] : words.split(' ');
      parts.push({ kind: 'commands', line, text, terminal, stays: stays === 'stays', printed: null });
    } else if (OUTPUT.has(language) && isAfterCommands && last?.kind === 'commands') {
      parts.splice(-1, 1, { ...last, printed: text });
    } else if (language !== 'mermaid') {
      const [, name] = FILE_NAME.exec(page.slice(0, match.index)) ?? [];
      if (name === undefined) throw new Error(`line ${line}: ${language} that is neither a named file nor output`);
      parts.push({ kind: 'file', name, text });
    }
    isAfterCommands = language === 'sh';
  }
  return parts;
}

/** What the output must match as a whole. Times are the reader's own. */
export function patternOf(printed: string): RegExp {
  const lines = printed.trimEnd().split('\n');
  const patterns = lines.map((line) => (line === '…' ? '(?:.*\n)*?' : `${lineOf(line)}\n`));
  return new RegExp(`^${patterns.join('')}$`);
}

function lineOf(line: string): string {
  const parts = line.replaceAll(TIME, SOME_TIME).split('…');
  return parts.map((part) => RegExp.escape(part)).join('[^\\n]+');
}

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;
const SOME_TIME = '2026-01-01T00:00:00Z';

/** Output as `patternOf` wants it: lines without spaces at their ends, all at one time. */
export function comparable(output: string): string {
  const lines = output.trimEnd().split('\n');
  return `${lines.map((line) => line.trimEnd().replaceAll(TIME, SOME_TIME)).join('\n')}\n`;
}

/** Commands that are typed one after the other, since a later one may need what an earlier one printed. */
export function commandsOf(text: string): readonly string[] {
  const lines = text.trimEnd().replaceAll(/\\\n/g, '\\\0').split('\n');
  return lines.map((line) => line.replaceAll('\0', '\n')).filter((line) => line !== '' && !line.startsWith('#'));
}

/** Replaces `cus_…` and other cut ids by the id that the reader was shown last. @throws {Error} if none was shown */
export function filledIn(command: string, shown: string): string {
  return command.replaceAll(/\b([a-z]+(?:_[a-z]+)?_)…/g, (place, prefix: string) => {
    const newest = [...shown.matchAll(new RegExp(`\\b${prefix}\\w{6,}`, 'g'))].at(-1);
    if (newest === undefined) throw new Error(`nothing shown so far fits ${place}, in: ${command}`);
    return newest[0];
  });
}
