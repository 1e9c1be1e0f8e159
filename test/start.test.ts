import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from './support/database.ts';
import { startProcess } from './support/process.ts';
import { STRIPE_SECRET, signStripe, stripePaymentSucceeded } from './support/signing.ts';
import { eventually } from './support/wait.ts';

const urlIn = (output: string) => /Listening (http:\/\/\S+)/.exec(output)?.[1] ?? '';

describe('npm start', () => {
  it('brings its own database, makes a key once, credits a payment, stops cleanly, and knows it all the next time', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-start-'));
    await chmod(folder, 0o755);
    const environment = {
      DATA_DIR: join(folder, 'data'),
      PORT: '0',
      STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
      LOG_LEVEL: 'info',
    };
    const first = startProcess('src/main.ts', environment);
    await first.printed('the worker is ready');
    const key = /API key {3}(ck_test_\S+)/.exec(first.output())?.[1] ?? '';
    expect(key).toMatch(/^ck_test_\w{49}$/);
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const call = async (
      path: string,
      body?: string,
      extra: Record<string, string> = headers,
      base = urlIn(first.output()),
    ) => {
      const response = await fetch(
        base + path,
        body === undefined ? { headers: extra } : { method: 'POST', body, headers: extra },
      );
      return { status: response.status, answer: JSON.parse(await response.text()) };
    };
    const { answer: customer } = await call('/customers', '{"email":"ada@example.com","name":"Ada"}');
    const payment = stripePaymentSucceeded({ amount: 1200, metadata: { wallet_customer_id: customer.customer_id } });
    expect(await call('/webhooks/stripe', payment, { ...signStripe(payment) })).toMatchObject({ status: 200 });
    const wallets = `/customers/${customer.customer_id}/wallets`;
    await eventually(
      'the credit',
      async () =>
        (await call(wallets)).answer.items.find((wallet: { currency: string }) => wallet.currency === 'USD').balance ===
        1200,
    );
    expect(await first.end('SIGTERM')).toBe(0);
    // The key is in no log line but the one that shows it.
    expect(first.output().split(key)).toHaveLength(2);

    const second = startProcess('src/main.ts', environment);
    await second.printed('the worker is ready');
    expect(second.output()).not.toContain('ck_test_');
    expect(second.output()).toContain('To make another: npx chokin keys create');
    const again = await call(wallets, undefined, headers, urlIn(second.output()));
    expect(again.answer.total_balance_usd).toBe(1200);
    expect(await second.end('SIGINT')).toBe(0);
    for (const one of [first, second]) expect(one.output()).not.toContain('connection was lost');
    await rm(folder, { recursive: true, force: true });
  }, 300_000);

  it('leaves the one alone that runs in the same folder, says where it is, and takes over from one that was killed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-start-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o755);
    const environment = { DATA_DIR: join(folder, 'data'), PORT: '0', API_KEY: 'k'.repeat(32) };
    const first = startProcess('src/main.ts', environment);
    onTestFinished(() => void first.child.kill('SIGKILL'));
    await first.printed('the worker is ready');
    const customers = (output: string) =>
      fetch(`${urlIn(output)}/customers`, { headers: { authorization: `Bearer ${environment.API_KEY}` } });

    const second = startProcess('src/main.ts', environment);
    expect(await second.exited).toBe(1);
    const running = `Chokin is already running at ${urlIn(first.output())}, process ${first.child.pid}, with its database in ${environment.DATA_DIR}.`;
    expect(second.output()).toContain(running);
    expect((await customers(first.output())).status).toBe(200);

    expect(await first.end('SIGKILL')).toBe('SIGKILL');
    const third = startProcess('src/main.ts', environment);
    await third.printed('the worker is ready');
    expect((await customers(third.output())).status).toBe(200);
    expect(await third.end('SIGTERM')).toBe(0);
  }, 300_000);

  it('works in a folder that is private, also for root, who lends the database an account that cannot get in', async () => {
    // As mkdtemp makes them: nobody else may enter.
    const folder = await mkdtemp(join(tmpdir(), 'chokin-private-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const isRoot = process.getuid?.() === 0;
    const placeIn = (output: string) => /Starting the embedded Postgres in (\S+)/.exec(output)?.[1] ?? '';
    const first = startProcess('src/main.ts', { PORT: '0' }, [], folder);
    await first.printed('the worker is ready');
    const place = placeIn(first.output());
    onTestFinished(async () => {
      if (isRoot) await rm(place, { recursive: true, force: true });
    });
    expect(place).toMatch(isRoot ? /^\/var\/lib\/chokin\/data-\w+$/ : /^\.data$/);
    if (isRoot) expect(first.output()).toContain(`(${join(folder, '.data')} is private to root)`);
    // Other commands find the database by the same folder as ever.
    const list = startProcess('src/cli/chokin.ts', {}, ['merchants', 'list'], folder);
    expect([await list.exited, list.output()]).toEqual([0, expect.stringContaining('bus_default')]);
    expect(await first.end('SIGTERM')).toBe(0);

    const second = startProcess('src/main.ts', { PORT: '0' }, [], folder);
    await second.printed('the worker is ready');
    expect(placeIn(second.output())).toBe(place);
    expect(second.output()).not.toContain('ck_test_');
    expect(await second.end('SIGTERM')).toBe(0);
  }, 300_000);

  it('stops with every problem of the configuration listed, and no secret shown', async () => {
    const bad = startProcess('src/main.ts', {
      PORT: 'seventy',
      MODE: 'production',
      API_KEY: 'too-short-secret',
      DODO_WEBHOOK_SECRET: 'whsec_%%%%',
    });
    expect(await bad.exited).toBe(1);
    for (const name of ['PORT: wants', 'MODE: wants', 'API_KEY: wants']) expect(bad.output()).toContain(name);
    expect(bad.output()).not.toContain('too-short-secret');
  });

  it.each([
    [{ DATA_DIR: join(import.meta.dirname, '../README.md') }, 'DATA_DIR: the folder', 'a file in its place'],
    [{ DATA_DIR: '/dev/null/x' }, 'DATA_DIR: the folder /dev/null/x cannot be made', 'Set DATA_DIR to a folder'],
    [{ DATA_DIR: '/proc/x/y' }, 'DATA_DIR: the folder /proc/x/y cannot be made', 'Set DATA_DIR to a folder'],
    [{ HOST: '203.0.113.9' }, 'EADDRNOTAVAIL', 'Set HOST to one of its own'],
    [{ HOST: 'nowhere.invalid' }, 'nowhere.invalid', 'Set HOST to one of this machine'],
  ])('names the variable and the cure for %j', async (environment, problem, cure) => {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-start-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const bad = startProcess('src/main.ts', { DATA_DIR: folder, PORT: '3999', ...environment });
    expect(await bad.exited).toBe(1);
    expect(bad.output()).toContain(problem);
    expect(bad.output()).toContain(cure);
  });

  it('says what to do when the database cannot be reached', async () => {
    const away = startProcess('src/main.ts', { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/chokin', PORT: '0' });
    expect(await away.exited).toBe(1);
    expect(away.output()).toContain('ECONNREFUSED');
    expect(away.output()).toContain('Nobody answers there. Is DATABASE_URL right, and does that Postgres run?');
  });
});

describe('.env in the working folder', () => {
  const inFolderWith = async (text: string) => {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-env-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await writeFile(join(folder, '.env'), text);
    return folder;
  };

  it('is named for each of its values that is not usable, and for none of the environment', async () => {
    const folder = await inFolderWith('PORT=seventy\nMODE=production\nHOST=127.0.0.1\n');
    const bad = startProcess('src/main.ts', { MODE: 'fast' }, [], folder);
    expect(await bad.exited).toBe(1);
    expect(bad.output()).toContain('PORT: wants a whole number from 0 to 65535  (set in .env)\n');
    expect(bad.output()).toMatch(/MODE: wants test or live\n/);
  });

  it('is named where a value of it proves wrong later, also by npx chokin', async () => {
    const folder = await inFolderWith('DATABASE_URL=postgres://nobody@127.0.0.1:1/chokin\n');
    for (const [script, ...args] of [
      ['src/commands/migrate.ts'],
      ['src/cli/chokin.ts', 'merchants', 'list'],
    ] as const) {
      const away = startProcess(script, {}, args, folder);
      expect(await away.exited).toBe(1);
      expect(away.output()).toContain('ECONNREFUSED');
      expect(away.output()).toContain('(From the file .env: DATABASE_URL.)');
    }
  });

  it('is looked through for names that were meant for Chokin, as the environment is', async () => {
    const folder = await inFolderWith('DATABASE_URL=postgres://nobody@127.0.0.1:1/chokin\nAPI_KEY_OLD=sesame\n');
    const away = startProcess('src/web.ts', { STRIPE_SECRET: 'whsec_sesame', PORT: '0' }, [], folder);
    expect(await away.exited).toBe(1);
    expect(away.output()).toContain(
      'STRIPE_SECRET is not a variable of Chokin and changes nothing. Is it STRIPE_WEBHOOK_SECRET?',
    );
    expect(away.output()).toContain('API_KEY_OLD is not a variable of Chokin and changes nothing. Is it API_KEY?');
    expect(away.output()).not.toContain('sesame');
  });
});

describe('the parts', () => {
  it.each([
    'src/main.ts',
    'src/web.ts',
    'jobs/worker.ts',
    'src/commands/migrate.ts',
    'src/commands/audit.ts',
    'test/demo/demo.ts',
    'test/bench/bench.ts',
    'test/check.ts',
  ])('%s --help explains it and does nothing', async (script) => {
    const help = startProcess(script, {}, ['--help']);
    expect(await help.exited).toBe(0);
    expect(help.output()).toMatch(/^Usage: npm (start|run \w+)/);
  });

  it('refuse an option they do not know', async () => {
    const odd = startProcess('src/web.ts', {}, ['--port=1']);
    expect(await odd.exited).toBe(1);
    expect(odd.output()).toContain(
      'There is no option --port. Set the variable PORT, in the environment or in .env. --help says what there is.',
    );
    const words = startProcess('src/web.ts', {}, ['5']);
    expect(await words.exited).toBe(1);
    expect(words.output()).toContain('There are no arguments, only options. --help says what there is.');
  });

  it.each(['src/web.ts', 'jobs/worker.ts', 'src/commands/migrate.ts'])('%s asks for its database', async (script) => {
    const part = startProcess(script, {});
    expect(await part.exited).toBe(1);
    expect(part.output()).toContain('DATABASE_URL: wants');
  });

  it('npm run migrate says that there is nothing to do', async () => {
    const database = await createTestDatabase();
    const migrate = startProcess('src/commands/migrate.ts', { DATABASE_URL: database.ownerUrl });
    expect(await migrate.exited).toBe(0);
    expect(migrate.output()).toContain('The database is up to date.');
    await database.drop();
  });
});
