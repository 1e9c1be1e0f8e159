import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { explain } from '../../src/commands/explain.ts';
import { eventually } from '../support/wait.ts';
import { entriesWritten, findWrongs, notYet } from './checks.ts';
import { endSoon } from './end-soon.ts';
import { Hostile } from './hostile.ts';
import { drawPlan, type Plan, Random } from './plan.ts';
import { Traffic } from './traffic.ts';
import { World } from './world.ts';

const HELP = `Usage: npm run soak [-- --seed <n>] [--minutes <m>] [--webs <w>] [--workers <w>]

Runs a whole deployment (Postgres, web processes, workers, a Svix behind a bad line) under traffic and faults that a
seed draws: doubled, dropped, overtaken and garbled deliveries, kill -9, crashes of Postgres, strangers and a merchant that mean no good. Every
process has a heap of 256 MB, and what it took at most is printed. Then the faults stop, the
system has to come to rest by itself, and every balance, event, message and the books are checked. Exits 1 if
anything is wrong, with the seed to repeat it by (processes are not repeatable to the instruction; what is drawn is).

  --seed <n>      the seed (default: drawn, and printed)
  --minutes <m>   how long to make trouble (default: 1)
  --webs <w>      how many web processes (default: 2)
  --workers <w>   how many workers (default: 2)`;

const REST_MS = 180_000;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      ...{ seed: { type: 'string' }, minutes: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
      ...{ webs: { type: 'string', default: '2' }, workers: { type: 'string', default: '2' } },
    },
  });
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  const minutes = Number(values.minutes ?? 1);
  if (!Number.isSafeInteger(seed) || !(minutes > 0))
    throw new Error('wants a whole seed and more than no minutes; see --help');
  const fleet = { webs: Number(values.webs), workers: Number(values.workers) };
  if (![fleet.webs, fleet.workers].every((count) => Number.isSafeInteger(count) && count > 0))
    throw new Error('wants one web process and one worker at least; see --help');
  const plan = drawPlan(seed);
  console.log(`Seed ${seed}, ${minutes} min, ${fleet.webs} web processes, ${fleet.workers} workers: ${describe(plan)}`);
  const random = new Random(seed);
  const world = await World.start(plan, fleet, random.fork());
  try {
    await soak(world, plan, random, minutes * 60_000);
  } finally {
    await world.close();
  }
}

function describe({ seed: _seed, ...rest }: Plan): string {
  return Object.entries(rest)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

async function soak(world: World, plan: Plan, random: Random, durationMs: number): Promise<void> {
  const traffic = new Traffic(plan, { addresses: world.addresses, letPass: (id) => letPass(world, id) });
  await traffic.prepare(random.fork());
  const hostile = new Hostile(world.addresses, await traffic.prepareMallory(new Random(plan.seed)));
  const trouble = new AbortController();
  const startedMs = performance.now();
  const progress = setInterval(() => console.log(progressLine(world, traffic, startedMs)), 10_000);
  const ending = setTimeout(() => trouble.abort(), durationMs);
  try {
    await Promise.all([
      traffic.run(random.fork(), trouble.signal),
      every(plan.killEveryMs, trouble.signal, random.fork(), (own) => world.killOne(own)),
      every(plan.restartEveryMs, trouble.signal, random.fork(), () => world.restartPostgres()),
      ...Array.from({ length: plan.hostile }, () => hostile.run(random.fork(), trouble.signal)),
    ]);
    world.line.rate = 0;
    await world.allUp();
    await rest(world, traffic);
    console.log(progressLine(world, traffic, startedMs));
    console.log(
      `${hostile.attacks} attacks; at most ${world.peaksMb['src/web.ts']} MB of a web process, ${world.peaksMb['jobs/worker.ts']} MB of a worker`,
    );
  } finally {
    clearInterval(progress);
    clearTimeout(ending);
  }
}

/** Makes trouble at intervals around `intervalMs`, once at least. */
async function every(
  intervalMs: number,
  signal: AbortSignal,
  random: Random,
  work: (random: Random) => Promise<void>,
): Promise<void> {
  for (let round = 0; !signal.aborted; round += 1) {
    const soon = round === 0 ? Math.min(intervalMs, 20_000) : intervalMs;
    await delay(soon * (0.5 + random.next()), null, { signal }).catch(() => {});
    if (!signal.aborted) await work(random);
  }
}

/** Tries until Postgres is there. */
async function letPass(world: World, checkoutId: string): Promise<void> {
  const pool = world.openPool();
  let trouble: unknown = null;
  const attempt = () =>
    endSoon(pool, checkoutId).catch((error: unknown) => {
      trouble = error;
      return false;
    });
  try {
    await eventually('a checkout to be over soon', attempt, REST_MS).catch(() => Promise.reject(trouble));
  } finally {
    await pool.end();
  }
}

/** Waits until the system is at rest, unattended, and checks everything. */
async function rest(world: World, traffic: Traffic): Promise<void> {
  const pool = world.openPool();
  try {
    const deadlineMs = performance.now() + REST_MS;
    let saidMs = performance.now();
    for (;;) {
      for (let left = await notYet(pool); left.length > 0; left = await notYet(pool)) {
        if (performance.now() > deadlineMs)
          throw new Error(`not at rest after ${REST_MS / 1000} s: ${left.join(', ')}\n${world.lastWords()}`);
        await delay(500);
        if (performance.now() - saidMs > 10_000) {
          saidMs = performance.now();
          console.log(`Coming to rest: ${left.join(', ')}`);
        }
      }
      const before = await entriesWritten(pool);
      const wrongs = [...world.starved, ...(await findWrongs(pool, traffic, world.svix))];
      if (wrongs.length === 0) return;
      // What a hostile merchant sent may still lie in a socket of a web process: then the system was not at rest after all.
      if ((await entriesWritten(pool)) === before || performance.now() > deadlineMs)
        throw new Error(`${wrongs.length} wrong:\n${wrongs.slice(0, 20).join('\n')}\n${world.lastWords()}`);
      console.log('Entries were written meanwhile; coming to rest again');
    }
  } finally {
    await pool.end();
  }
}

function progressLine(
  { kills, restarts }: World,
  { counts, lots, refills, schedules, checkouts, statuses }: Traffic,
  startedMs: number,
): string {
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  return (
    `${seconds} s: ${counts.events} events in ${counts.deliveries} deliveries, ${counts.refusedForgeries} forgeries refused, ` +
    `${counts.debits} debits (${counts.insufficient} refused), ${counts.captures} captures, ${counts.releases} releases, ${counts.lapses} lapses, ` +
    `${lots.given.length} lots (${lots.voids} voids, ${lots.changes} changes), ` +
    `${refills.rules} changes of top-up rules, ${refills.requests} top-ups (${refills.payments} payments), ${schedules.planned} schedules, ${statuses.changes} changes of statuses, ` +
    `${checkouts.opened} checkouts (${checkouts.payments} payments, ${checkouts.refunds} refunds, ${checkouts.collects} collected), ` +
    `${counts.troubles} retries, ${kills} kills, ${restarts} crashes of Postgres`
  );
}

main().then(
  () => process.exit(process.exitCode ?? 0),
  (error: unknown) => {
    console.error(explain(error));
    process.exit(1);
  },
);
