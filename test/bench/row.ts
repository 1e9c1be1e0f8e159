import { type CpuSeconds, GROUPS, type Group, microsecondsEach, noTime } from './cpu.ts';
import type { Rig } from './rig.ts';

/**
 * A row of the benchmark: some sides that do the same work, measured in turn in every block, and what is claimed of them. Machines and moments
 * differ, so only values of one block are compared, and the median of those comparisons counts.
 */

export interface Measured {
  /** In the row's unit. */
  readonly value: number;
  /** What the processor's time is shared among; 0 where there is nothing to share. */
  readonly requests: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

export interface Run {
  readonly rig: Rig;
  /** The length of one measurement. */
  readonly seconds: number;
  /** How large the tables of rows about large tables are, as a share of what the row's name says. */
  readonly scale: number;
}

/** What was measured of each side in one block, by its name. */
export type Block = (side: string) => Measured;

export interface Claim {
  /** What ours is compared with. */
  readonly beside: string;
  /** The two that are divided; `theirs` is null where ours itself is what is claimed. */
  of(block: Block): { readonly ours: number; readonly theirs: number | null };
  readonly bar: { readonly atLeast: number } | { readonly atMost: number } | null;
  /** Of both, where it is not the row's. */
  readonly unit?: string;
}

/** Measures once. */
type Measure = () => Promise<Measured>;

/** What each measurement uses up is made before it, and neither its time nor the processor's counts. */
type Side = Measure | { readonly prepare: () => Promise<unknown>; readonly measure: Measure };

export interface Row {
  /** Such as W2; several rows may share it. */
  readonly id: string;
  readonly name: string;
  readonly unit: string;
  readonly claims: readonly Claim[];
  /** Gets ready, once, when the row is wanted. @returns the sides by name, ours first */
  sides(run: Run): Promise<Readonly<Record<string, Side>>>;
  /** Of measurements that change what they measure, such as a mass that falls due. */
  readonly rounds?: number;
}

/** The commonest claim: the values of two sides. */
export function beside(name: string, atLeast: number | null, side = name): Claim {
  return {
    beside: name,
    of: (block) => ({ ours: block('ours').value, theirs: block(side).value }),
    bar: atLeast === null ? null : { atLeast },
  };
}

/** Beside what a service could reach that does two things one after the other, each as fast as its limit. */
export function besideBoth(name: string, sides: readonly [string, string], atLeast: number | null): Claim {
  return {
    beside: name,
    of: (block) => ({
      ours: block('ours').value,
      theirs: 1 / sides.reduce((sum, side) => sum + 1 / block(side).value, 0),
    }),
    bar: atLeast === null ? null : { atLeast },
  };
}

/** How long the middle one of the requests takes. */
export function p50Beside(name: string, atMost: number | null, side = name): Claim {
  return {
    beside: name,
    of: (block) => ({ ours: block('ours').p50Ms ?? Number.NaN, theirs: block(side).p50Ms ?? Number.NaN }),
    bar: atMost === null ? null : { atMost },
    unit: 'ms',
  };
}

/** A value that stands for itself. */
export function itself(atMost: number, value: (block: Block) => number = (block) => block('ours').value): Claim {
  return { beside: '', of: (block) => ({ ours: value(block), theirs: null }), bar: { atMost } };
}

interface SideResult {
  readonly side: string;
  readonly value: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly cpu: CpuSeconds;
}

export interface ClaimResult {
  readonly unit: string;
  readonly beside: string;
  readonly ours: number;
  readonly theirs: number | null;
  readonly ratio: number;
  readonly least: number;
  readonly most: number;
  readonly bar: Claim['bar'];
  /** By the worst block of the run; `median` where only the median reaches the bar. */
  readonly reached: 'yes' | 'median' | 'no' | '';
}

export interface RowResult {
  readonly row: Pick<Row, 'id' | 'name' | 'unit'>;
  readonly sides: readonly SideResult[];
  readonly claims: readonly ClaimResult[];
}

export type Sample = Measured & { readonly cpu: CpuSeconds };

/** Measures all sides in every block, beginning with another one each time. */
export async function measure(row: Row, run: Run, rounds: number): Promise<RowResult> {
  const sides = await row.sides(run);
  const names = Object.keys(sides);
  const blocks: Map<string, Sample>[] = [];
  const count = Math.min(rounds, row.rounds ?? rounds);
  for (let round = 0; round < count; round += 1) {
    const block = new Map<string, Sample>();
    for (const name of inTurn(names, round)) {
      const side = sides[name];
      if (side === undefined) continue;
      if ('prepare' in side) await side.prepare();
      const from = await run.rig.cpu.read();
      const measured = await ('prepare' in side ? side.measure() : side());
      const to = await run.rig.cpu.read();
      block.set(name, { ...measured, cpu: microsecondsEach(from, to, measured.requests) });
    }
    blocks.push(block);
    const seen = names.map((name) => `${name} ${brief(block.get(name)?.value ?? Number.NaN)}`);
    process.stderr.write(`${row.id} ${row.name}: block ${round + 1} of ${count}: ${seen.join(', ')}\n`);
  }
  return {
    row,
    sides: names.map((name) => summary(name, blocks)),
    claims: row.claims.map((claim) => judge(claim, row.unit, blocks)),
  };
}

/** Forwards and backwards in turn, each time begun one further: nobody is always the one after a checkpoint. */
function inTurn(names: readonly string[], round: number): readonly string[] {
  const from = round % names.length;
  const turned = [...names.slice(from), ...names.slice(0, from)];
  return round % 2 === 0 ? turned : turned.toReversed();
}

function summary(side: string, blocks: readonly Map<string, Sample>[]): SideResult {
  const samples = blocks.flatMap((block) => block.get(side) ?? []);
  const cpu = noTime();
  for (const group of GROUPS) cpu[group] = median(samples.map((sample) => sample.cpu[group]));
  const optional = (of: (sample: Sample) => number | undefined) => {
    const known = samples.flatMap((sample) => of(sample) ?? []);
    return known.length === 0 ? null : median(known);
  };
  return {
    ...{ side, cpu, value: median(samples.map(({ value }) => value)) },
    ...{ p50Ms: optional((one) => one.p50Ms), p99Ms: optional((one) => one.p99Ms) },
  };
}

export function judge(claim: Claim, unit: string, blocks: readonly Map<string, Sample>[]): ClaimResult {
  const pairs = blocks.map((block) =>
    claim.of((side) => {
      const measured = block.get(side);
      if (measured === undefined) throw new Error(`there is no side ${side}`);
      return measured;
    }),
  );
  const ratios = pairs.map(({ ours, theirs }) => (theirs === null ? ours : ours / theirs));
  const result = { ratio: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) };
  const theirs = pairs.flatMap((pair) => pair.theirs ?? []);
  return {
    ...{ beside: claim.beside, bar: claim.bar, reached: reached(claim.bar, result), ...result },
    unit: claim.unit ?? unit,
    ours: median(pairs.map(({ ours }) => ours)),
    theirs: theirs.length === 0 ? null : median(theirs),
  };
}

function reached(bar: Claim['bar'], { ratio, least, most }: Record<'ratio' | 'least' | 'most', number>) {
  if (bar === null) return '';
  const isMet = (value: number) => ('atLeast' in bar ? value >= bar.atLeast : value <= bar.atMost);
  if (isMet('atLeast' in bar ? least : most)) return 'yes';
  return isMet(ratio) ? 'median' : 'no';
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = Number.NaN, high = low] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return (low + high) / 2;
}

/** As many digits as can be meant. */
export function brief(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

/** All of a request's time in our processes and in Postgres: the generator's is the machine's affair. */
export function allOf(cpu: CpuSeconds): number {
  return GROUPS.filter((group): group is Exclude<Group, 'generator'> => group !== 'generator').reduce(
    (sum, group) => sum + cpu[group],
    0,
  );
}
