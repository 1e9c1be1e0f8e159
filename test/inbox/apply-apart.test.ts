import pg from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import { chooseBackend, onCitus } from '../../src/db/backend.ts';
import type { Pool } from '../../src/db/pool.ts';
import { byItself } from '../../src/inbox/apply-apart.ts';
import { firstThatFit, type OwnedJob } from '../../src/inbox/apply-jobs.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import { createLogger } from '../../src/telemetry/log.ts';

const logger = createLogger('silent', 'test');
// Of all that a worker has, it wants the log alone.
const services = { logger } as unknown as ApplyServices;
const jobs = [{ id: 'one' }, { id: 'two' }] as unknown as Parameters<typeof byItself>[1];

const answered = (code: string) => Object.assign(new pg.DatabaseError('a node is away', 0, 'error'), { code });

function choose(backend: 'citus' | 'postgres'): void {
  const before = onCitus() ? 'citus' : 'postgres';
  chooseBackend(backend);
  onTestFinished(() => chooseBackend(before));
}

it('jobs of a merchant whose node is away fail by themselves, each with what went wrong', async () => {
  choose('citus');
  const failed = (id: string, error: string) => ({ id, status: 'failed', output: { error } });
  const away = () => Promise.reject(answered('08006'));
  expect(await byItself(services, jobs, away)).toEqual([failed('one', 'error'), failed('two', 'error')]);
  const odd = () => Promise.reject('gone');
  expect(await byItself(services, jobs, odd)).toEqual([failed('one', 'Error'), failed('two', 'Error')]);
});

it('what is wrong with all of the database is thrown, and pg-boss tries all jobs again', async () => {
  choose('citus');
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  await expect(byItself(services, jobs, () => Promise.reject(refused))).rejects.toBe(refused);
});

it('on one Postgres no failure is of one merchant alone', async () => {
  choose('postgres');
  const lost = answered('08006');
  await expect(byItself(services, jobs, () => Promise.reject(lost))).rejects.toBe(lost);
});

it('what came of the jobs is given back', async () => {
  const results = [{ id: 'one', status: 'completed' as const }];
  expect(await byItself(services, jobs, () => Promise.resolve(results))).toBe(results);
});

/** Whatever is asked by it fails so. */
const failing = (error: Error) => ({ connect: () => Promise.reject(error) }) as unknown as Pool;
const owned = ['one', 'two'].map((id) => ({ id, merchantId: 'bus_default', eventId: id })) as unknown as OwnedJob[];

it('how large events are need not be known of a merchant whose node is away: they fail when they are applied', async () => {
  choose('citus');
  expect(await firstThatFit({ pool: failing(answered('08006')) }, owned)).toEqual({ batch: owned, left: [] });
});

it('how large events are must be known otherwise', async () => {
  choose('postgres');
  await expect(firstThatFit({ pool: failing(answered('08006')) }, owned)).rejects.toThrow('a node is away');
});
