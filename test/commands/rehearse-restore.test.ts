import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { rehearseRestore } from '../../src/commands/rehearse-restore.ts';
import { loadConfig } from '../../src/config/env.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { makeCustomers } from '../support/ledger.ts';
import { SystemPostgres } from '../support/system-postgres.ts';

const logger = createLogger('silent', 'test');
/** pg_dump wants to be as new as its server, and the tests' server comes without one: so a server of the machine's own is dumped. */
const server = await SystemPostgres.start();
if (server === null) console.warn('SKIPPED: no Postgres server is installed here, so no backup was made and rehearsed');

const rehearse = (dump: string, environment: Readonly<Record<string, string>> = {}) =>
  rehearseRestore({ dump, config: loadConfig(environment), onStep: () => {} });

describe.skipIf(server === null)('a backup', { timeout: 120_000 }, () => {
  const { url, dump } = {
    url: server?.url ?? '',
    dump: (file: string, format?: 'plain') => server?.dump(file, format),
  };
  let folder: string;
  let pool: Pool;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'chokin-dumps-'));
    await chmod(folder, 0o755);
    await migrate(url, logger);
    pool = createPool({ databaseUrl: url, applicationName: 'test', maxConnections: 2, logger });
    await makeCustomers(pool, ['ada', 'bob']);
  });
  afterAll(async () => {
    await pool.end();
    await server?.remove();
    await rm(folder, { recursive: true, force: true });
  });

  it('is restored, audited, and found good, whatever its version of Postgres', async () => {
    const file = join(folder, 'good.dump');
    await dump(file);
    const { isGood, report } = await rehearse(file);
    expect(report).toContain('The books agree.');
    expect(report).toContain('It has no entry.');
    expect(report).toContain('It has the schema of this release.');
    expect(report).toContain('Start one worker with SENDING=on');
    expect(isGood).toBe(true);
  });

  it('is good if something came to its end since it was made', async () => {
    const overdue = `insert into scheduled_entry (merchant_id, customer_id, scheduled_entry_id, currency, amount, is_credit, post_at, on_shortfall,
        idempotency_key, fingerprint, actor, state, due_at, tries, created_at)
      values ('bus_default', 'cus_ada', 'sen_1', 'USD', 5, true, now() - interval '3 hours', 'skip',
        'k', sha256(''), 'operator', 'scheduled', now() - interval '3 hours', 0, now() - interval '1 day')`;
    await pool.query(overdue);
    const file = join(folder, 'last-night.dump');
    await dump(file);
    expect(await rehearse(file)).toMatchObject({ isGood: true });
  });

  it('leaves nothing behind where it is stopped', async () => {
    const file = join(folder, 'stopped.dump');
    await dump(file);
    vi.stubEnv('TMPDIR', folder);
    onTestFinished(() => void vi.unstubAllEnvs());
    const stopping = new AbortController();
    const onStep = (step: string) => {
      if (step.startsWith('Restoring')) stopping.abort();
    };
    const stopped = rehearseRestore({ dump: file, config: loadConfig({}), onStep, signal: stopping.signal });
    await expect(stopped).rejects.toThrow('Stopped.');
    expect((await readdir(folder)).filter((name) => name.startsWith('chokin-rehearsal-'))).toEqual([]);
  });

  it('is not good if its books disagree', async () => {
    await pool.query("update wallet set balance = 5, version = 1 where customer_id = 'cus_ada' and currency = 'USD'");
    const file = join(folder, 'wrong.dump');
    await dump(file);
    const { isGood, report } = await rehearse(file);
    expect(isGood).toBe(false);
    expect(report).toContain('cus_ada');
    expect(report).toContain('The backup is NOT good');
  });

  it('in plain SQL is refused with what to do, and without a password in the message', async () => {
    const file = join(folder, 'plain.sql');
    await dump(file, 'plain');
    const refused = rehearse(file);
    await expect(refused).rejects.toThrow('Make dumps by pg_dump --format=custom');
    await expect(refused).rejects.not.toThrow('postgres://');
  });
});

describe('npm run rehearse-restore', () => {
  it('says what it lacks: a dump, pg_restore', async () => {
    await expect(rehearse('/nowhere.dump')).rejects.toThrow('/nowhere.dump cannot be read');
    vi.stubEnv('PATH', '/nowhere');
    onTestFinished(() => void vi.unstubAllEnvs());
    await expect(rehearse(import.meta.filename)).rejects.toThrow('pg_restore is not installed here');
  });
});
