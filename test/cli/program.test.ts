import { spawn } from 'node:child_process';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ended, failure, ROOT, startTestCli, type TestCli } from '../support/cli.ts';
import { makeCustomers } from '../support/ledger.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';

const GROUPS = [
  'merchants',
  'keys',
  'sources',
  'events',
  'payments',
  'customers',
  'wallets',
  'holds',
  'simulate',
  'reconcile',
  'reconciliations',
  'webhooks',
  'jobs',
  'audit',
];

let cli: TestCli;
let chokin: TestCli['chokin'];

beforeAll(async () => {
  cli = await startTestCli();
  chokin = cli.chokin;
  await makeCustomers(cli.database.pool, ['ada']);
});

afterAll(() => cli.close());

describe('chokin', { timeout: 180_000 }, () => {
  it('explains itself and each group of commands, without a database', async () => {
    const help = (words: readonly string[]) => chokin([...words, '--help'], { DATABASE_URL: 'nonsense' });
    const [whole, ...groups] = await Promise.all([help([]), ...GROUPS.map((group) => help([group]))]);
    expect(whole).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^Usage: chokin /) });
    for (const [index, group] of GROUPS.entries()) {
      // The line of a group in the whole help is what the group says of itself.
      const [, line] = new RegExp(`^  ${group} +(.+)$`, 'm').exec(whole?.out ?? '') ?? [];
      expect(groups[index]?.out, group).toContain(line);
      const usage = expect.stringMatching(new RegExp(`^Usage: chokin ${group} `));
      expect(groups[index]).toMatchObject({ code: 0, err: '', out: usage });
    }
  });

  it('marks what a command wants, and what it may be left without', async () => {
    const { out } = await chokin('simulate topup --help');
    expect(out).toMatch(/^Usage: chokin simulate topup --customer <id> --amount <amount> \[options\]\n/);
    expect(out).toMatch(/^ +--customer <id> +cus_… \(required\)$/m);
    expect(out).toMatch(/^ +--currency <code> +default: the first of WALLET_CURRENCIES$/m);
    const credit = await chokin('wallets credit --help');
    expect(credit.out).toContain(
      'Usage: chokin wallets credit <customer-id> <amount> <currency> --reason <text> [options]',
    );
  });

  it('is what npx runs: the bin of the package, executable, on the Node of node_modules', async () => {
    const { bin } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const env = { PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}` };
    const ran = await ended(spawn(join(ROOT, bin.chokin), ['--help'], { env }));
    expect(ran).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^Usage: chokin /) });
  });

  it('loads nothing to answer with the help but the help, so that it answers at once', async () => {
    const modulesOf = async (words: string) => {
      const file = join(cli.folder, `modules-${words.replaceAll(/\W/g, '')}`);
      const preload = join(ROOT, 'test/support/note-modules.ts');
      const ran = await chokin(words, { NODE_OPTIONS: `--import=${preload}`, MODULES_FILE: file });
      expect(ran).toMatchObject({ code: 0, err: '' });
      const own = (await readFile(file, 'utf8')).split('\n').filter((url) => url.startsWith('file:'));
      const names = own.map(
        (url) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? url.split('/chokin.ts')[0] ?? url,
      );
      return new Set(names.map((name) => name.replace(/^.*\/(src|package)/, '$1')));
    };
    const [help, version, ...groups] = await Promise.all(
      ['--help', '--version', 'wallets --help', 'sources --help', 'customers --help'].map(modulesOf),
    );
    const few = ['commander', 'src/cli', 'src/cli/output.ts', 'src/errors.ts', 'src/views/table.ts'];
    expect([...(help ?? [])].sort()).toEqual(few);
    expect([...(version ?? [])].sort()).toEqual(few);
    // A group brings what its commands need, but no SDK, which takes longer than all the rest.
    for (const group of groups) {
      expect(group).toContain('zod');
      for (const slow of ['stripe', 'dodopayments', 'svix', 'undici', 'express']) expect(group).not.toContain(slow);
    }
  });

  it('says its version, which is that of the package', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    expect(await chokin('--version')).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });

  it('shows the help to who asks for nothing yet', async () => {
    const [nothing, group] = await Promise.all([chokin([]), chokin('wallets')]);
    expect(nothing).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^Usage: chokin \[options\]/) });
    expect(group).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^Usage: chokin wallets /) });
  });

  it('answers wrong usage with one line, the way to the help, and exit code 2', async () => {
    const post = 'wallets credit cus_ada';
    const wrong = [
      ['event list', "error: unknown command 'event' (Did you mean events?)"],
      ['customers list --page 0', 'error: --page: wants a whole number from 1'],
      ['customers list --limit 1000 --page 200', 'error: --page: reaches beyond 100000 items'],
      ['payments list --state paid', 'error: --state: wants unknown, pending, failed or succeeded'],
      ['simulate topup --customer cus_ada --amount 1 --url localhost', 'error: --url: wants an http or https URL'],
      ['events list --status lost', 'error: --status: wants one of pending,'],
      ['events list --limit=1e3', 'error: --limit: wants a whole number from 1 to 1000'],
      ['jobs redrive everything', 'error: <queue>: wants one of apply-provider-events, apply-provider-event,'],
      ['events show', "error: missing required argument 'event-id'"],
      ['keys create --name a', "error: required option '--scopes <list>' not specified"],
      ['keys create --nam a --scopes read', "error: unknown option '--nam' (Did you mean --name?)"],
      [
        'simulate topup --customer --amount 12.50',
        'error: --customer: wants an id; --amount follows it (is a variable empty?)',
      ],
      ['keys create --name a --scopes admin', 'error: --scopes: wants read, write or read,write'],
      ['keys rotate key_a --grace soon', 'error: --grace: wants a time span such as'],
      ['merchants create A --mode play', 'error: --mode: wants test or live'],
      [`${post} 1.234 USD --reason a`, 'error: amount: USD has 2 decimals, as in 12.50'],
      [`${post} 0.00 USD --reason a`, 'error: amount: wants more than nothing'],
      ['sources set src_a', 'error: there is nothing to change'],
      // A secret in the wrong place is not repeated.
      [`sources add-secret src_a --webhook-secret whsec_misplaced`, "error: unknown option '--webhook-secret'"],
      [
        'sources add-secret src_a',
        'error: the webhook secret is missing: --webhook-secret-stdin, or the variable CHOKIN_',
      ],
      ['sources add-secret src_a --webhook-secret-stdin', 'error: --webhook-secret-stdin: standard input is empty'],
    ] as const;
    const ran = await Promise.all(wrong.map(([words]) => chokin(words)));
    for (const [index, [words, message]] of wrong.entries()) {
      expect(ran[index], words).toMatchObject({ code: 2, out: '', err: expect.stringContaining(message) });
      expect(ran[index]?.err, words).toMatch(/^error: .+\nSee "chokin( \S+)* --help"\.\n$/);
    }
    expect(cli.printed()).not.toContain('whsec_misplaced');
  });

  it('says what to do where there is no database, no table, or nothing', async () => {
    const empty = new URL(cli.database.url);
    empty.pathname = '/postgres';
    const [none, away, bare, wrong, nobody] = await Promise.all([
      chokin('events list', { DATABASE_URL: '' }),
      chokin('events list', { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/chokin' }),
      chokin('audit', { DATABASE_URL: empty.href }),
      chokin('events list', { PORT: 'seventy' }),
      chokin('events list --merchant bus_nobody'),
    ]);
    expect(none).toMatchObject(
      failure(
        /^error: DATABASE_URL: wants the database .+ Run this where npm start runs, or set DATA_DIR or DATABASE_URL\. .+\n$/,
      ),
    );
    expect(away).toMatchObject(
      failure(
        /^error: .*ECONNREFUSED.*\nNobody answers there\. Is DATABASE_URL right, and does that Postgres run\?\n$/,
      ),
    );
    expect(bare).toMatchObject(failure(/^error: .+\nThe tables are missing or old. Run npm run migrate first.\n$/));
    expect(wrong).toMatchObject(failure(/PORT: wants a whole number/));
    expect(nobody).toMatchObject(failure('There is no merchant bus_nobody; "npx chokin merchants list" shows them.'));
  });

  it('finds the database that npm start left', async () => {
    const left = await mkdtemp(join(cli.folder, 'left-'));
    await writeFile(join(left, 'database-url'), `${cli.database.url}\n`);
    await writeFile(join(left, 'encryption-key'), `${ENCRYPTION_KEY}\n`);
    const environment = {
      DATABASE_URL: '',
      ENCRYPTION_KEY: '',
      DATA_DIR: left,
      CHOKIN_WEBHOOK_SECRET: 'whsec_a_secret',
    };
    const [list, source] = await Promise.all([
      chokin('merchants list', environment),
      chokin('sources create --provider stripe --name Main', environment),
    ]);
    expect(list).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^bus_default /m) });
    expect(source).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^source +src_/) });
  });

  it('asks for npm start where that has left a database and is not running', async () => {
    const left = await mkdtemp(join(cli.folder, 'stopped-'));
    await writeFile(join(left, 'database-url'), 'postgres://nobody@127.0.0.1:1/chokin\n');
    const ran = await chokin('merchants list', { DATABASE_URL: '', DATA_DIR: left });
    expect(ran).toMatchObject(failure(/ECONNREFUSED.*\nnpm start is not running here: start it, or set DATABASE_URL/));
  });

  it('ends quietly when its reader has gone', async () => {
    const child = cli.start('audit --json');
    child.stdout?.destroy();
    expect(await ended(child)).toEqual({ code: 0, out: '', err: '' });
  });
});
