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
  'wallets',
  'reconcile',
  'reconciliations',
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

describe('chokin', { timeout: 60_000 }, () => {
  it('explains itself and each group of commands, without a database', async () => {
    const help = (words: readonly string[]) => chokin([...words, '--help'], { DATABASE_URL: 'nonsense' });
    const [whole, ...groups] = await Promise.all([help([]), ...GROUPS.map((group) => help([group]))]);
    expect(whole).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^Usage: chokin /) });
    for (const [index, group] of GROUPS.entries()) {
      expect(whole?.out).toContain(`\n  ${group}`);
      const usage = expect.stringMatching(new RegExp(`^Usage: chokin ${group} `));
      expect(groups[index]).toMatchObject({ code: 0, err: '', out: usage });
    }
  });

  it('is what npx runs: the bin of the package, executable, on the Node of node_modules', async () => {
    const { bin } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const env = { PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}` };
    const ran = await ended(spawn(join(ROOT, bin.chokin), ['--help'], { env }));
    expect(ran).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^Usage: chokin /) });
  });

  it('answers wrong usage with the usage and exit code 2', async () => {
    const post = 'wallets credit cus_ada';
    const wrong = [
      ['', 'Usage: chokin '],
      ['wallets', 'Usage: chokin wallets '],
      ['event list', "error: unknown command 'event'"],
      ['events list --status lost', 'error: --status: wants one of pending,'],
      ['events list --limit=1e3', 'error: --limit: wants a whole number from 1 to 1000'],
      ['jobs redrive everything', 'error: <queue>: wants one of apply-provider-event,'],
      ['events show', "error: missing required argument 'event-id'"],
      ['keys create --name a', "error: required option '--scopes <list>' not specified"],
      ['keys create --name a --scopes admin', 'error: --scopes: wants read, write or read,write'],
      ['keys rotate key_a --grace soon', 'error: --grace: wants a time span such as'],
      ['merchants create A --mode play', 'error: --mode: wants test or live'],
      [`${post} 1.234 USD --reason a`, 'error: amount: USD has 2 decimals, as in 12.50'],
      [`${post} 0.00 USD --reason a`, 'error: amount: wants more than nothing'],
      ['sources set src_a', 'error: there is nothing to change'],
      // A secret in the wrong place is not repeated.
      [`sources add-secret src_a --webhook-secret whsec_misplaced`, "error: unknown option '--webhook-secret'"],
      ['sources add-secret src_a', 'error: wants the webhook secret: --webhook-secret-stdin, or the variable CHOKIN_'],
      ['sources add-secret src_a --webhook-secret-stdin', 'error: --webhook-secret-stdin: standard input is empty'],
    ] as const;
    const ran = await Promise.all(wrong.map(([words]) => chokin(words === '' ? [] : words)));
    for (const [index, [words, message]] of wrong.entries()) {
      expect(ran[index], words).toMatchObject({ code: 2, out: '', err: expect.stringContaining(message) });
      expect(ran[index]?.err, words).toMatch(/^Usage: chokin /m);
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
    expect(none).toMatchObject(failure(/^error: DATABASE_URL: wants the database .+npm start would leave .+\n$/));
    expect(away).toMatchObject(
      failure(/^error: .*ECONNREFUSED.*\nIs Postgres running, and is DATABASE_URL right\?.*\n$/),
    );
    expect(bare).toMatchObject(failure(/^error: .+\nThe tables are missing or old. Run npm run migrate first.\n$/));
    expect(wrong).toMatchObject(failure(/PORT: wants a whole number/));
    expect(nobody).toMatchObject(failure('There is no merchant bus_nobody; "chokin merchants list" shows them.'));
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

  it('ends quietly when its reader has gone', async () => {
    const child = cli.start('audit --json');
    child.stdout?.destroy();
    expect(await ended(child)).toEqual({ code: 0, out: '', err: '' });
  });
});
