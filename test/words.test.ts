import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseAst } from 'vitest/node';
import { ERROR_STATUS } from '../src/views/error-status.ts';
import { ROOT } from './support/cli.ts';

/** One word for each idea, and one form for what a function throws: docs/architecture.md, "Words". */

async function filesIn(folder: string, ending: RegExp): Promise<Map<string, string>> {
  const names = await readdir(join(ROOT, folder), { recursive: true });
  const wanted = names.filter((name) => ending.test(name)).map((name) => `${folder}/${name}`);
  return new Map(
    await Promise.all(wanted.map(async (name) => [name, await readFile(join(ROOT, name), 'utf8')] as const)),
  );
}

const code = new Map([...(await filesIn('src', /\.ts$/)), ...(await filesIn('jobs', /\.ts$/))]);
const pages = new Map([...(await filesIn('docs', /\.md$/)), ...(await filesIn('src', /\.md$/))]);

/** Words that had a meaning here which another word has now. */
const OLD_WORDS =
  /^(?:said|told|untold|telling|tellings|tally|nudge|reseal|resealed|lane|lanes|unannounced|evaluate|evaluated|dealt)$/;

/** Names that others rely on. */
const KEPT = new Set(['amount_told', 'lane']);

/** Every name in a file's code; texts and comments are left out. */
function namesIn(text: string): ReadonlySet<string> {
  const names = new Set<string>();
  const walk = (node: unknown): void => {
    if (Array.isArray(node)) for (const one of node) walk(one);
    else if (typeof node === 'object' && node !== null) {
      if ('name' in node && typeof node.name === 'string') names.add(node.name);
      for (const one of Object.values(node)) walk(one);
    }
  };
  walk(parseAst(text, { lang: 'ts' }).body);
  return names;
}

const wordsOf = (name: string) => name.split(/_|(?<=[a-z0-9])(?=[A-Z])/).map((word) => word.toLowerCase());

it('no name in the code has a word that another word has replaced', () => {
  const wrong = [...code].flatMap(([file, text]) =>
    [...namesIn(text)]
      .filter((name) => !KEPT.has(name))
      .filter((name) => wordsOf(name).some((word) => OLD_WORDS.test(word)) || /byHand/i.test(name))
      .map((name) => `${file}: ${name}`),
  );
  expect(wrong).toEqual([]);
});

it('what a person did instead of the program was handled by hand, and nothing else', () => {
  const wrong = [...code, ...pages].filter(([, text]) =>
    /\bdeal(?:t|s|ing)? with\b|\b(?:done|did) by hand\b/i.test(text),
  );
  expect(wrong.map(([file]) => file)).toEqual([]);
});

const THROWS = /@throws\b(.*(?:\n\s*\* {2,}.*)*)/g;

/** Every code that a refusal or an answer can have. */
const codes = new Set<string>([
  ...Object.keys(ERROR_STATUS),
  ...[...(code.get('src/errors.ts') ?? '').matchAll(/^ {2}([A-Z][A-Z_]+): /gm)].map(([, name = '']) => name),
]);

it('each @throws names one class, or unknown, and a refusal its codes', () => {
  const wrong = [...code].flatMap(([file, text]) =>
    [...text.matchAll(THROWS)]
      .filter(([, what = '']) => {
        const [, thrown = '', words = ''] = /^ \{(unknown|DOMException|\w*Error)\}([\s\S]*)/.exec(what) ?? [];
        const named = [...words.replaceAll(/\{@link[^}]*\}/g, '').matchAll(/\b[A-Z]{2,}(?:_[A-Z]+)+\b/g)].map(
          ([name]) => name,
        );
        const hasCode = named.length > 0 || words.includes('{@link') || words.includes('`errors`');
        const isVague = thrown === 'RefusalError' && !hasCode;
        const hasUnknownCode = /^(?:Refusal|TurnedAway)Error$/.test(thrown) && named.some((name) => !codes.has(name));
        return thrown === '' || /\{\w*Error\}/.test(words) || isVague || hasUnknownCode;
      })
      .map(([whole]) => `${file}: ${whole}`),
  );
  expect(wrong).toEqual([]);
});
