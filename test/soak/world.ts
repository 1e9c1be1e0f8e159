import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrate } from '../../src/commands/migrate.ts';
import { type EmbeddedPostgres, freePort, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { createServiceUsers, type ServiceUrls } from '../../src/db/service-users.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';
import { eventually } from '../support/wait.ts';
import { FlakyProxy } from './flaky-proxy.ts';
import type { Plan, Random } from './plan.ts';

export const ADMIN_KEY = 'an-admin-key-for-soaks-of-more-than-32-characters';
/** In MB. Nothing that anybody does may take more. */
const HEAP_MB = 256;
const WATCH_MS = 500;
/** How long a process may take until it is ready: many begin at once on few cores. */
const UP_MS = 180_000;

interface Slot {
  readonly script: 'src/web.ts' | 'jobs/worker.ts';
  readonly port: number;
  process: ServiceProcess;
  /** Set while it is not to be started again. */
  isOver: boolean;
}

/** How many processes of each kind. */
export interface Fleet {
  readonly webs: number;
  readonly workers: number;
}

/** A whole deployment on one machine: Postgres, web processes, workers, and a Svix behind a bad line. */
export class World {
  readonly svix: SvixServer;
  readonly line: FlakyProxy;
  kills = 0;
  restarts = 0;
  /** Processes that ended for want of memory, in words. */
  readonly starved: string[] = [];
  /** The most memory that a process of each kind has taken, in MB; 0 where the system does not say. */
  readonly peaksMb = { 'src/web.ts': 0, 'jobs/worker.ts': 0 };
  readonly #watching = setInterval(() => this.#noteMemory(), WATCH_MS);
  readonly #folder: string;
  readonly #cluster: { dataDir: string; port: number };
  readonly #slots: Slot[] = [];
  readonly #urls: ServiceUrls;
  #postgres: EmbeddedPostgres;

  private constructor(
    folder: string,
    cluster: { dataDir: string; port: number },
    postgres: EmbeddedPostgres,
    urls: ServiceUrls,
    svix: SvixServer,
    line: FlakyProxy,
  ) {
    this.#folder = folder;
    this.#cluster = cluster;
    this.#postgres = postgres;
    this.#urls = urls;
    this.svix = svix;
    this.line = line;
  }

  static async start(plan: Plan, { webs, workers }: Fleet, random: Random): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-soak-'));
    await chmod(folder, 0o755);
    const cluster = { dataDir: join(folder, 'cluster'), port: await freePort() };
    const postgres = await startEmbeddedPostgres(cluster);
    await migrate(postgres.databaseUrl, createLogger('silent', 'soak'));
    const urls = await createServiceUsers(postgres.databaseUrl);
    const svix = await SvixServer.start();
    const world = new World(
      folder,
      cluster,
      postgres,
      urls,
      svix,
      await FlakyProxy.start(svix.url, plan.svixFailing, random),
    );
    for (let index = 0; index < webs; index += 1) world.#spawn('src/web.ts', await freePort());
    for (let index = 0; index < workers; index += 1) world.#spawn('jobs/worker.ts', 0);
    await world.allUp();
    return world;
  }

  get addresses(): readonly string[] {
    return this.#slots.filter((slot) => slot.port > 0).map((slot) => `http://127.0.0.1:${slot.port}`);
  }

  /** A pool of the checks' own; Postgres must be up. */
  openPool(): Pool {
    const logger = createLogger('silent', 'soak');
    return createPool({ databaseUrl: this.#postgres.databaseUrl, applicationName: 'soak', maxConnections: 2, logger });
  }

  /** Kills one process with -9; whoever runs the service starts it again. */
  async killOne(random: Random): Promise<void> {
    const slot = random.pick(this.#slots);
    this.kills += 1;
    slot.process.child.kill('SIGKILL');
    await slot.process.exited;
  }

  /** Postgres crashes and comes back. */
  async restartPostgres(): Promise<void> {
    this.restarts += 1;
    await this.#postgres.stop('immediate');
    this.#postgres = await startEmbeddedPostgres(this.#cluster);
  }

  /** Every process runs and is ready. */
  async allUp(): Promise<void> {
    for (const slot of this.#slots) {
      const ready = slot.port > 0 ? 'Listening' : 'the worker is ready';
      await eventually(`${slot.script} to be up`, () => slot.process.output().includes(ready), UP_MS);
    }
  }

  /** The end of what every process printed, for a failure. */
  lastWords(): string {
    return this.#slots.map((slot) => `${slot.script}:\n${slot.process.output().slice(-2_000)}`).join('\n');
  }

  #noteMemory(): void {
    for (const { script, process: one } of this.#slots) {
      const peak = peakMb(one.child.pid);
      if (peak !== null) this.peaksMb[script] = Math.max(this.peaksMb[script], peak);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#watching);
    for (const slot of this.#slots) slot.isOver = true;
    await Promise.all(this.#slots.map((slot) => slot.process.end('SIGKILL')));
    await Promise.all([this.line.close(), this.svix.close(), this.#postgres.stop('immediate')]);
    await rm(this.#folder, { recursive: true, force: true });
  }

  #spawn(script: Slot['script'], port: number): void {
    const slot: Slot = { script, port, isOver: false, process: this.#run(script, port) };
    this.#slots.push(slot);
    const watch = () => {
      void slot.process.exited.then(() => {
        if (slot.isOver) return;
        if (/heap out of memory/.test(slot.process.output())) this.starved.push(`${script} ran out of memory`);
        slot.process = this.#run(script, port);
        watch();
      });
    };
    watch();
  }

  #run(script: Slot['script'], port: number): ServiceProcess {
    return startProcess(script, {
      DATABASE_URL: this.#urls[script === 'src/web.ts' ? 'chokin_web' : 'chokin_worker'],
      PORT: String(port),
      ADMIN_KEY,
      ENCRYPTION_KEY,
      SVIX_TOKEN,
      SVIX_SERVER_URL: this.line.url,
      LOG_LEVEL: 'info',
      LOW_BALANCE_MIN_INTERVAL_SECONDS: '0',
      NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}`,
    });
  }
}

/** The most memory that a process has taken so far, where the system says. */
function peakMb(pid: number | undefined): number | null {
  try {
    const kilobytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? null : Math.round(Number(kilobytes) / 1024);
  } catch {
    return null;
  }
}
