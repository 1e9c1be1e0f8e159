import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startLine } from '../support/process.ts';

/**
 * Process managers start a line of the Procfile, or npm, and send SIGTERM to what they started: to that process alone.
 * It must reach Node, or Node would be left behind with the port and its connections.
 */
const PROCFILE = await readFile(join(ROOT, 'Procfile'), 'utf8');
const lineOf = (process: string) => new RegExp(`^${process}: (.+)$`, 'm').exec(PROCFILE)?.[1] ?? '';

const pidIn = (output: string) => Number(/"pid":(\d+)/.exec(output)?.[1]);

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

describe('SIGTERM to what a process manager started', { timeout: 90_000 }, () => {
  it.each([
    ["the Procfile's web", lineOf('web'), 'Listening'],
    ["the Procfile's worker", lineOf('worker'), 'the worker is ready'],
    ['npm run web', 'exec npm run web', 'Listening'],
    ['npm run worker', 'exec npm run worker', 'the worker is ready'],
  ])('%s: stops the service cleanly and leaves nothing behind', async (_name, line, isUp) => {
    const isWorker = line.includes('worker');
    const started = startLine(line, { DATABASE_URL: isWorker ? database.workerUrl : database.webUrl, PORT: '0' });
    onTestFinished(() => void started.child.kill('SIGKILL'));
    await started.printed(isUp);
    const servicePid = pidIn(started.output());
    expect(() => process.kill(servicePid, 0)).not.toThrow();
    expect(await started.end('SIGTERM')).toBe(0);
    expect(started.output()).toContain('"msg":"stopped"');
    expect(() => process.kill(servicePid, 0)).toThrow('ESRCH');
  });

  it('counts once if it reaches Node twice, since npm passes on what a terminal or systemd sent to both', async () => {
    const started = startLine('exec npm run web', { DATABASE_URL: database.webUrl, PORT: '0' });
    onTestFinished(() => void started.child.kill('SIGKILL'));
    await started.printed('Listening');
    process.kill(pidIn(started.output()), 'SIGINT');
    await started.printed('stopping');
    expect(await started.end('SIGINT')).toBe(0);
    expect(started.output()).toContain('"msg":"stopped"');
  });

  it("the Procfile's release migrates and ends", async () => {
    const release = startLine(lineOf('release'), { DATABASE_URL: database.ownerUrl });
    expect(await release.exited).toBe(0);
    expect(release.output()).toContain('The database is up to date.');
  });
});
