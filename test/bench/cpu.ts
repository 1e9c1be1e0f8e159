import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { z } from 'zod';

/**
 * Who spends the processor's time, from /proc: rates on a busy machine say little, the time that a request takes says much. Postgres'
 * backends are known by the name of the pool that opened them, so each side's work is told apart.
 */
export const GROUPS = [
  'web',
  'worker',
  'Postgres for web',
  'Postgres for worker',
  'Postgres itself',
  'generator',
] as const;
export type Group = (typeof GROUPS)[number];

/** Seconds of processor time by group. */
export type CpuSeconds = Readonly<Record<Group, number>>;

/** Of /proc, on every Linux that Node runs on. */
const TICKS_A_SECOND = 100;
const isMeasurable = process.platform === 'linux';

/** The time of one process in seconds; 0 for one that has ended. */
async function secondsOf(pid: number): Promise<number> {
  if (!isMeasurable) return 0;
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => null);
  if (text === null) return 0;
  // The second field is the program's name in brackets, which may hold blanks.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

/** What is in memory of a process, in MB. */
export async function residentMegabytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'latin1');
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1] ?? Number.NaN) / 1024;
}

/** The same, with pages that several processes share, such as those of Node's own file, divided among them. */
export async function proportionalMegabytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'latin1');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? Number.NaN) / 1024;
}

const backend = z.object({ pid: z.number(), name: z.string(), type: z.string().nullable() });

function groupOf({ name, type }: z.infer<typeof backend>): Group {
  if (type !== 'client backend') return 'Postgres itself';
  if (name.includes('web')) return 'Postgres for web';
  return name.includes('worker') || name.includes('audit') ? 'Postgres for worker' : 'generator';
}

export interface Watched {
  readonly pid: number;
  readonly group: 'web' | 'worker';
}

/** Reads the clocks of all processes of a run. */
export class CpuMeter {
  readonly #admin: pg.Client;
  readonly #watched: readonly Watched[];
  /** What each process had spent when it was last looked at, and all since the meter began. */
  readonly #last = new Map<number, number>();
  readonly #sums: Record<Group, number> = noTime();

  private constructor(admin: pg.Client, watched: readonly Watched[]) {
    this.#admin = admin;
    this.#watched = watched;
  }

  /** @param watched is read anew each time: processes are started as they are wanted */
  static async start(databaseUrl: string, watched: readonly Watched[]): Promise<CpuMeter> {
    const admin = new pg.Client({ connectionString: databaseUrl, application_name: 'bench-cpu' });
    await admin.connect();
    return new CpuMeter(admin, watched);
  }

  async read(): Promise<CpuSeconds> {
    const { rows } = await this.#admin.query(
      "select pid, coalesce(application_name, '') as name, backend_type as type from pg_stat_activity where pid <> pg_backend_pid()",
    );
    const backends = z.array(backend).parse(rows);
    const all: { pid: number; group: Group }[] = [
      ...this.#watched,
      ...backends.map((one) => ({ pid: one.pid, group: groupOf(one) })),
      { pid: process.pid, group: 'generator' },
    ];
    for (const { pid, group } of all) {
      const seconds = await secondsOf(pid);
      this.#sums[group] += Math.max(0, seconds - (this.#last.get(pid) ?? 0));
      this.#last.set(pid, seconds);
    }
    return { ...this.#sums };
  }

  async close(): Promise<void> {
    await this.#admin.end();
  }
}

export function noTime(): Record<Group, number> {
  return {
    web: 0,
    worker: 0,
    'Postgres for web': 0,
    'Postgres for worker': 0,
    'Postgres itself': 0,
    generator: 0,
  };
}

/** What was spent between two readings, in microseconds a request. */
export function microsecondsEach(from: CpuSeconds, to: CpuSeconds, requests: number): CpuSeconds {
  const spent = noTime();
  for (const group of GROUPS) spent[group] = requests === 0 ? 0 : ((to[group] - from[group]) * 1e6) / requests;
  return spent;
}
