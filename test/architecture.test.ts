import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { checkArchitecture, checkSources, LAYERS, renderViolation } from './support/architecture.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What the rules say about one file. */
const check = (file: string, text: string) => checkSources(new Map([[file, text]])).map(renderViolation);
const lines = (count: number) => 'void 0;\n'.repeat(count);

describe('the shape of the program', () => {
  it('obeys every rule of test/support/architecture.ts', async () => {
    expect((await checkArchitecture(ROOT)).map(renderViolation)).toEqual([]);
  });

  it.each([
    [
      'a room above',
      'src/ledger/a.ts',
      "import { b } from '../payments/b.ts';",
      'ledger may not import src/payments/b.ts',
    ],
    [
      'a type from above',
      'src/money.ts',
      "import type { B } from './db/b.ts';",
      'vocabulary may not import src/db/b.ts',
    ],
    ['a re-export from above', 'src/money.ts', "export * from './db/b.ts';", 'vocabulary may not import'],
    ['a dynamic import from above', 'src/db/a.ts', "await import('../http/b.ts');", 'db may not import src/http/b.ts'],
    [
      'an import type from above',
      'src/db/a.ts',
      "type B = import('../http/b.ts').B;",
      'db may not import src/http/b.ts',
    ],
    ['jobs from src', 'src/web.ts', "import { b } from '../jobs/b.ts';", 'src does not import jobs'],
    ['jobs from the command line', 'src/cli/a.ts', "import { b } from '../../jobs/b.ts';", 'src does not import jobs'],
    ['jobs from http', 'src/http/a.ts', "import { b } from '../../jobs/b.ts';", 'src does not import jobs'],
    ['http from jobs', 'jobs/a.ts', "import { b } from '../src/http/b.ts';", 'jobs does not import http'],
    ['http from reconciliation', 'src/reconciliation/a.ts', "import { b } from '../http/b.ts';", 'which is http'],
    ['reconciliation from the inbox', 'src/inbox/a.ts', "import { b } from '../reconciliation/b.ts';", 'inbox may not'],
    ['the command line from http', 'src/http/a.ts', "import { b } from '../cli/b.ts';", 'http does not import cli'],
    ['http from the command line', 'src/cli/a.ts', "import { b } from '../http/b.ts';", 'cli does not import http'],
    ['a root from a room', 'src/http/a.ts', "import { b } from '../main.ts';", 'which is roots'],
    [
      'a room nobody planned',
      'src/misc/a.ts',
      "import { b } from '../money.ts';",
      'no layer has a place for src/misc/a.ts',
    ],
    ['tests from src', 'src/http/a.ts', "import { b } from '../../test/b.ts';", 'outside src and jobs'],
    [
      'svix elsewhere',
      'src/http/a.ts',
      "import { Svix } from 'svix';",
      'only src/outgoing/svix/client.ts imports svix',
    ],
    [
      'a ledger table elsewhere',
      'src/http/a.ts',
      'const q = `select 1\n  from wallet w`;',
      'src/http/a.ts:2  tables: "from wallet" outside src/ledger',
    ],
    ['a table written to elsewhere', 'jobs/a.ts', "const q = 'insert into unannounced_wallet select 1';", 'src/ledger'],
    ["a neighbour's table", 'src/outgoing/a.ts', "const q = 'update payment set state = 1';", 'outside src/payments'],
    ['the environment', 'src/money.ts', 'void process.env.PORT;', 'only src/config/env-file.ts reads the environment'],
    ['the environment by another way', 'src/money.ts', "import { env } from 'node:process';", 'reads the environment'],
    ['the environment taken apart', 'src/money.ts', 'const { env } = process;', 'reads the environment'],
    ['the clock', 'src/money.ts', 'void new Date();', 'only src/clock.ts asks for the time of day'],
    ['the clock as a number', 'src/money.ts', 'void Date.now();', 'only src/clock.ts'],
    ['any', 'src/money.ts', 'let a: any;', 'the type any'],
    ['the console beside output.ts', 'src/cli/events.ts', "console.log('');", 'console outside composition roots'],
    ['the console', 'src/money.ts', "console.log('');", 'console outside composition roots'],
    [
      'a long function',
      'src/money.ts',
      `\nconst f = () => {\n${lines(69)}};`,
      'src/money.ts:2  length: a function of 71 lines',
    ],
    ['a long file', 'src/money.ts', lines(301), 'a file of 301 lines'],
    [
      'four parameters',
      'src/money.ts',
      'function f(a: 1, b: 2, c: 3, d: 4) {}',
      'src/money.ts:1  parameters: 4 parameters; 3 are the most',
    ],
    ['four parameters of a method', 'src/money.ts', 'interface I { f(a: 1, b: 2, c: 3, d: 4): void }', '4 parameters'],
    ['unfinished work', 'src/money.ts', '// TO' + 'DO later', 'unfinished'],
  ])('refuses %s', (_, file, text, message) => {
    const violations = check(file, text);
    expect(violations).toHaveLength(1);
    expect(violations[0]).toContain(message);
  });

  it.each([
    ['the main program may import jobs', 'src/main.ts', "import { b } from '../jobs/worker.ts';"],
    ['views for the command line', 'src/cli/a.ts', "import { b } from '../views/b.ts';"],
    ['the command line speaks through its output', 'src/cli/output.ts', "console.log('');"],
    ["providers' APIs for reconciliation", 'src/reconciliation/a.ts', "import { b } from '../providers/dodo/api.ts';"],
    ['a neighbour of the same layer', 'src/merchants/a.ts', "import { b } from '../outgoing/b.ts';"],
    ['its own room', 'jobs/a.ts', "import { b } from './b.ts';"],
    ['svix where it belongs', 'src/outgoing/svix/client.ts', "import { Svix } from 'svix';"],
    ['standardwebhooks anywhere', 'src/http/a.ts', "import { Webhook } from 'standardwebhooks';"],
    ['a ledger table in the ledger', 'src/ledger/a.ts', "const q = 'select 1 from wallet';"],
    [
      'every table for the audit',
      'src/audit/a.ts',
      "const q = 'select 1 from entry join payment using (merchant_id)';",
    ],
    ['a table in prose', 'src/http/a.ts', "const text = 'the refund came from customer Ada';"],
    ['a ledger table in a comment', 'src/http/a.ts', '// reads from wallet'],
    ['another table of a like name', 'src/http/a.ts', "const q = 'select 1 from wallets';"],
    ['a given date', 'src/money.ts', 'void new Date(0); void performance.now();'],
    ['the word any in prose', 'src/money.ts', "// any\nconst a = 'any';"],
    ['the console of a command', 'src/commands/a.ts', "console.log('');"],
    ['the console of a file that is run', 'src/db/a.ts', "if (import.meta.main) console.log('');"],
    ['a function of 70 lines', 'src/money.ts', `const f = () => {\n${lines(68)}};`],
    ['a file of 300 lines', 'src/money.ts', lines(300)],
    ['three parameters', 'src/money.ts', 'const f = (a: 1, b: 2, c: 3) => a;'],
    ['the four parameters of a handler of Express', 'src/money.ts', 'app.use(((a, b, c, d) => {}) satisfies Handler);'],
  ])('allows %s', (_, file, text) => {
    expect(check(file, text)).toEqual([]);
  });

  it('finds a circle of rooms in one layer', () => {
    const sources = new Map([
      ['src/payments/a.ts', "import { b } from '../customers/b.ts';"],
      ['src/customers/b.ts', ''],
      ['src/customers/c.ts', "import { d } from '../payments/d.ts';"],
      ['src/payments/d.ts', ''],
      ['src/merchants/e.ts', "import { a } from '../payments/a.ts';"],
    ]);
    expect(checkSources(sources).map(renderViolation)).toEqual([
      'src/payments/a.ts:1  arrows: payments and customers import in a circle',
      'src/customers/c.ts:1  arrows: customers and payments import in a circle',
    ]);
  });

  it('finds a circle of files', () => {
    const sources = new Map([
      ['src/ledger/a.ts', "import type { B } from './b.ts';"],
      ['src/ledger/b.ts', "import { c } from './c.ts';"],
      ['src/ledger/c.ts', "import { a } from './a.ts';"],
      ['src/ledger/d.ts', "import { a } from './a.ts';"],
    ]);
    expect(checkSources(sources).map(renderViolation)).toEqual([
      'src/ledger/a.ts:1  circles: src/ledger/b.ts imports it in turn',
      'src/ledger/b.ts:1  circles: src/ledger/c.ts imports it in turn',
      'src/ledger/c.ts:1  circles: src/ledger/a.ts imports it in turn',
    ]);
  });

  it('finds a name that two files export', () => {
    const sources = new Map([
      ['src/ledger/a.ts', "export type Work = 1;\nexport const settle = 1;\nexport { one as two } from './b.ts';"],
      ['src/ledger/b.ts', 'export const Kind = [1];\nexport type Kind = 1;\nconst one = 1;\nexport { one };'],
      ['src/inbox/c.ts', '\nexport interface Work {}\nexport async function settle() {}'],
      ['src/inbox/d.ts', 'const Kind = 1;\nexport class two {}\nexport { Kind as one };'],
    ]);
    expect(checkSources(sources).map(renderViolation)).toEqual([
      'src/inbox/c.ts:2  names: Work means something else in src/ledger/a.ts',
      'src/inbox/c.ts:3  names: settle means something else in src/ledger/a.ts',
      'src/inbox/d.ts:3  names: one means something else in src/ledger/b.ts',
    ]);
  });
});

describe('docs/architecture.md', async () => {
  const page = await readFile(join(ROOT, 'docs/architecture.md'), 'utf8');
  const folders = async (folder: string) =>
    (await readdir(join(ROOT, folder), { withFileTypes: true }))
      .filter((one) => one.isDirectory())
      .map(({ name }) => name);

  it('has a row for every room, and for every room within one', async () => {
    const rooms = await folders('src');
    // Each provider has a folder, and they are alike.
    const within = (
      await Promise.all(rooms.map(async (room) => (await folders(`src/${room}`)).map((one) => `${room}/${one}`)))
    )
      .flat()
      .filter((name) => !name.startsWith('providers/') || name === 'providers/shared');
    const rows = [...page.matchAll(/^\| `([a-z/-]+)` \| .+ \| `.+` ?.* \|$/gm)].map(([, room = '']) => room);
    const wanted = [...new Set([...LAYERS.flat(), ...rooms, ...within])];
    expect(rows.toSorted()).toEqual(wanted.toSorted());
  });

  it('draws the layers in their order', () => {
    const [, drawing = ''] = /```mermaid\n([\s\S]+?)```/.exec(page) ?? [];
    const drawn = [...drawing.matchAll(/\w+\["([^"]+)"\]/g)].map(([, label = '']) => label);
    const labels: Readonly<Record<string, string>> = {
      vocabulary: 'clock · errors · ids · money',
      roots: 'main · web · jobs/worker',
    };
    expect(drawn.toReversed()).toEqual(LAYERS.map((rooms) => labels[rooms.join()] ?? rooms.join(' · ')));
    // Each arrow leads to the next layer.
    expect(drawing.match(/-->/g)).toHaveLength(LAYERS.length - 1);
  });

  it('names no file that is not there', async () => {
    const named = [...page.matchAll(/`((?:[a-z-]+\/)*[a-z-]+\.ts)`/g)].map(([, name = '']) => name);
    expect(named.length).toBeGreaterThan(70);
    const there = [
      ...(await readdir(join(ROOT, 'src'), { recursive: true })),
      ...(await readdir(join(ROOT, 'jobs'))).map((name) => `jobs/${name}`),
    ];
    // A name without a folder stands for the file of that name in every provider's folder.
    const isThere = (name: string) =>
      there.includes(name) || (!name.includes('/') && there.includes(`providers/stripe/${name}`));
    expect(named.filter((name) => !isThere(name))).toEqual([]);
  });
});
