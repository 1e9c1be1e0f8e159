/**
 * Reads the part of YAML that `ops/alerts.yml` is written in, and refuses everything else, so that what passes here means the
 * same to every reader: mappings, lists of mappings, plain and double-quoted texts, folded blocks (`>-`), whole-line comments.
 */
export type Plain = string | readonly Plain[] | { readonly [key: string]: Plain };

interface Line {
  readonly number: number;
  readonly indent: number;
  readonly text: string;
}

/** @throws {Error} at the first line that is not of that part */
export function parsePlainYaml(source: string): Plain {
  const lines = source.split('\n').flatMap((raw, index): Line[] => {
    const text = raw.trimStart();
    if (text === '' || text.startsWith('#')) return [];
    const line = { number: index + 1, indent: raw.length - text.length, text };
    if (raw.includes('\t') || raw !== raw.trimEnd()) fail(line, 'a tab, or spaces at the end');
    return [line];
  });
  const reader = new Reader(lines);
  const value = reader.block(0);
  const rest = reader.peek();
  return rest === null ? value : fail(rest, 'indented in another way than what stands above');
}

function fail(line: Line, problem: string): never {
  throw new Error(`line ${line.number}: ${problem}: ${line.text}`);
}

class Reader {
  readonly #lines: Line[];

  constructor(lines: Line[]) {
    this.#lines = lines;
  }

  peek(): Line | null {
    return this.#lines[0] ?? null;
  }

  block(indent: number): Plain {
    return this.peek()?.text.startsWith('- ') ? this.#list(indent) : this.#mapping(indent);
  }

  #list(indent: number): Plain[] {
    const items: Plain[] = [];
    for (let line = this.peek(); line?.indent === indent && line.text.startsWith('- '); line = this.peek()) {
      // The item's first key stands behind the dash, the others below it.
      this.#lines[0] = { ...line, indent: indent + 2, text: line.text.slice(2) };
      items.push(this.#mapping(indent + 2));
    }
    return items;
  }

  #mapping(indent: number): Plain {
    const pairs = new Map<string, Plain>();
    for (let line = this.peek(); line?.indent === indent && !line.text.startsWith('- '); line = this.peek()) {
      this.#lines.shift();
      const [, key = '', value = ''] = /^([a-z_]+):(?: (.+))?$/.exec(line.text) ?? fail(line, 'not "key: value"');
      if (pairs.has(key)) fail(line, 'a key that was there before');
      pairs.set(key, this.#value(line, value));
    }
    return Object.fromEntries(pairs);
  }

  #value(line: Line, text: string): Plain {
    if (text === '') {
      const next = this.peek();
      return next !== null && next.indent > line.indent ? this.block(next.indent) : fail(line, 'a key without a value');
    }
    if (text === '>-') return this.#folded(line);
    if (text.startsWith('"')) return JSON.parse(text);
    if (/^[\w(]/.test(text) && !/: | #/.test(text)) return text;
    return fail(line, 'a text that wants quotes');
  }

  #folded(parent: Line): string {
    const parts: string[] = [];
    for (let line = this.peek(); line !== null && line.indent > parent.indent; line = this.peek()) {
      parts.push(line.text);
      this.#lines.shift();
    }
    return parts.length > 0 ? parts.join(' ') : fail(parent, 'a folded text without lines');
  }
}
