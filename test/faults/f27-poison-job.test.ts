import { expect, it } from 'vitest';
import { createBoss } from '../../src/db/boss.ts';
import { freePort } from '../../src/db/embedded.ts';
import { deadLetterOf } from '../../src/db/queues.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { paymentEvent, type TrafficEvent } from '../support/fault-traffic.ts';
import { readAlerts } from '../support/ops-files.ts';
import { startProcess } from '../support/process.ts';
import { eventually } from '../support/wait.ts';

/**
 * F27: an event whose job always throws, a wallet that none of its events can be posted to, and a job that nobody can
 * read, among good ones. Each poison job is dead-lettered in bounded time and by itself, the alarm is raised once for each,
 * and it is over once the cause is mended and the jobs are put back.
 */
const QUEUE = 'apply-provider-event';
const SHARED = 'apply-provider-events';
const RETRIES = 1;
const NEIGHBOURS = 30;

const POISON = `
  create function poison() returns trigger language plpgsql as $$ begin raise exception 'poison'; end $$;
  create trigger poison before insert on payment for each row when (new.payment_id = 'pi_poison') execute function poison();
  create trigger poison before insert on entry for each row when (new.customer_id = 'CURSED')
    execute function poison();`;

it('poison jobs end in the dead letter queue by themselves, are shown, and are put back once their cause is mended', async ({
  onTestFinished,
}) => {
  const rig = await FaultRig.start({ WORKER_METRICS_PORT: String(await freePort()) });
  onTestFinished(() => rig.close());
  const { traffic, database } = rig;
  await rig.startWebHere();
  const [good, cursed] = [await traffic.newCustomer(), await traffic.newCustomer()];
  await database.pool.query(POISON.replace('CURSED', cursed));
  const boss = createBoss({
    databaseUrl: database.ownerUrl,
    applicationName: 'test',
    maxConnections: 2,
    works: false,
    logger: createLogger('silent', 'test'),
  });
  await boss.start();
  onTestFinished(() => boss.stop({ graceful: false }));
  for (const queue of [SHARED, QUEUE])
    await boss.updateQueue(queue, { retryLimit: RETRIES, retryDelay: 1, retryBackoff: false });

  // No worker runs yet, so that the first batch has all of them.
  const neighbours = Array.from({ length: NEIGHBOURS }, () => paymentEvent(good, 10));
  const poison = [paymentEvent(good, 10, 'pi_poison'), ...[7, 8, 9].map((amount) => paymentEvent(cursed, amount))];
  const all = [...neighbours, ...poison].sort((a, b) => (a.eventId < b.eventId ? -1 : 1));
  await Promise.all(all.map((event) => traffic.deliver(event)));
  // Nobody can read these: one of the kind that holds an event, and one of the kind that holds many.
  await boss.send(QUEUE, { nonsense: true });
  await boss.send(SHARED, { nonsense: true });
  const startedAt = performance.now();
  const worker = await rig.startWorker();
  const dead = poison.length + 1;
  await eventually('the poison to be dead-lettered', async () => (await deadJobs(rig)) === dead, 60_000);
  expect(performance.now() - startedAt).toBeLessThan(60_000);

  // The neighbours were applied by the first try of their jobs, before the poison was given up.
  const { rows } = await database.pool.query(
    `select state, reason, count(*), max(replays) as replays,
       bool_and(settled_at < (select min(settled_at) from provider_event where state = 'parked')) as is_earlier
     from provider_event group by state, reason order by state`,
  );
  expect(rows).toEqual([
    { state: 'applied', reason: null, count: NEIGHBOURS, replays: 0, is_earlier: true },
    { state: 'parked', reason: 'apply_failed', count: poison.length, replays: 0, is_earlier: false },
  ]);
  expect(await retriesOfDone(rig)).toEqual([0]);

  const readings = { chokin_events_parked: poison.length, [`chokin_jobs_dead{queue="${QUEUE}"}`]: dead };
  await eventually('the alarm to be raised', async () => shows(await metricsOf(rig, 'PORT'), readings));
  const ofWorker = await metricsOf(rig, 'WORKER_METRICS_PORT');
  // Each failed once more, among the others of its commit.
  const failures = (outcome: string) => `chokin_event_failures_total{outcome="${outcome}"}`;
  expect(
    shows(ofWorker, { [failures('parked')]: poison.length, [failures('retried')]: poison.length * (1 + RETRIES) }),
  ).toBe(true);
  expect((await readAlerts()).find(({ alert }) => alert === 'ChokinJobsDead')?.expr).toBe(
    'max by (queue) (chokin_jobs_dead) > 0',
  );
  // What looks for lost jobs leaves these alone.
  await boss.send('requeue-stranded-events', {});
  await eventually('the search for lost jobs', async () => !(await isQueued(rig, 'requeue-stranded-events')));
  expect(await deadJobs(rig)).toBe(dead);
  expect(alarms(worker.output()).sort()).toEqual(await parkedEvents(rig));

  await database.pool.query('drop function poison cascade');
  const redriven = startProcess('src/cli/chokin.ts', { DATABASE_URL: database.url }, [
    'jobs',
    'redrive',
    QUEUE,
    '--json',
  ]);
  expect(await redriven.exited).toBe(0);
  expect(JSON.parse(redriven.stdout())).toEqual({ queue: QUEUE, redriven: poison.length, settled: 1 });
  await eventually('the alarm to be over', async () =>
    shows(await metricsOf(rig, 'PORT'), { chokin_events_parked: 0, [`chokin_jobs_dead{queue="${QUEUE}"}`]: 0 }),
  );
  await rig.expectAllWell();
  expect(await stateOf(rig, all)).toEqual(['applied']);
  expect(alarms(worker.output())).toHaveLength(poison.length);
}, 150_000);

async function deadJobs({ database }: FaultRig): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>('select count(*) from pgboss.job where name = $1', [
    deadLetterOf(QUEUE),
  ]);
  return rows[0]?.count ?? 0;
}

async function isQueued({ database }: FaultRig, name: string): Promise<boolean> {
  const { rowCount } = await database.pool.query("select 1 from pgboss.job where name = $1 and state < 'completed'", [
    name,
  ]);
  return rowCount !== 0;
}

/** How often the jobs that were done had been retried. */
async function retriesOfDone({ database }: FaultRig): Promise<readonly number[]> {
  const { rows } = await database.pool.query<{ retry_count: number }>(
    "select distinct retry_count from pgboss.job where name = any ($1) and state = 'completed'",
    [[SHARED, QUEUE]],
  );
  return rows.map((row) => row.retry_count);
}

async function parkedEvents({ database }: FaultRig): Promise<readonly string[]> {
  const { rows } = await database.pool.query<{ event_id: string }>(
    "select event_id from provider_event where state = 'parked' order by event_id",
  );
  return rows.map((row) => row.event_id);
}

async function stateOf({ database }: FaultRig, events: readonly TrafficEvent[]): Promise<readonly string[]> {
  const { rows } = await database.pool.query<{ state: string }>(
    'select distinct state from provider_event where delivery_key = any ($1)',
    [events.map(({ eventId }) => eventId)],
  );
  return rows.map((row) => row.state);
}

/** The events that a worker's log raised the alarm for. */
function alarms(output: string): string[] {
  const lines = output.split('\n').filter((line) => line.includes('an event failed again and again and is parked'));
  return lines.map((line) => JSON.parse(line).eventId);
}

async function metricsOf({ environment }: FaultRig, port: 'PORT' | 'WORKER_METRICS_PORT'): Promise<string> {
  return (await fetch(`http://127.0.0.1:${environment[port]}/metrics`)).text();
}

function shows(metrics: string, readings: Readonly<Record<string, number>>): boolean {
  const lines = new Set(metrics.split('\n'));
  return Object.entries(readings).every(([name, value]) => lines.has(`${name} ${value}`));
}
