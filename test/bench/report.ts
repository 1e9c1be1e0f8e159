import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { formatTable } from '../../src/views/table.ts';
import { type CpuSeconds, GROUPS } from './cpu.ts';
import { allOf, brief, type ClaimResult, type RowResult } from './row.ts';

/** Tables of what was measured, for a terminal or as Markdown for docs/performance.md. */
export type Style = 'terminal' | 'markdown';

export function tableIn(style: Style, header: readonly string[], rows: readonly (readonly string[])[]): string {
  if (style === 'terminal') return formatTable(header, rows);
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

function barOf(bar: ClaimResult['bar']): string {
  if (bar === null) return '';
  return 'atLeast' in bar ? `≥ ${bar.atLeast}` : `≤ ${bar.atMost}`;
}

function claimTable(style: Style, results: readonly RowResult[]): string {
  const rows = results.flatMap(({ row, claims }) =>
    claims.map((claim) => [
      ...[`${row.id} ${row.name}`, `${brief(claim.ours)} ${claim.unit}`, claim.beside],
      claim.theirs === null ? '' : brief(claim.theirs),
      `${brief(claim.ratio)}${claim.theirs === null ? '' : '×'}`,
      `${brief(claim.least)}–${brief(claim.most)}`,
      ...[barOf(claim.bar), claim.reached],
    ]),
  );
  return tableIn(style, ['workload', 'ours', 'beside', 'theirs', 'ratio', 'range', 'bar', 'reached'], rows);
}

function cpuTable(style: Style, results: readonly RowResult[]): string {
  const times = (cpu: CpuSeconds) => GROUPS.map((group) => (cpu[group] < 0.5 ? '' : cpu[group].toFixed(0)));
  const rows = results.flatMap(({ row, sides }) =>
    sides.map(({ side, value, p50Ms, p99Ms, cpu }) => [
      ...[`${row.id} ${row.name}`, side, `${brief(value)} ${row.unit}`],
      ...[p50Ms, p99Ms].map((time) => (time === null ? '' : time.toFixed(1))),
      ...[...times(cpu), allOf(cpu) < 0.5 ? '' : allOf(cpu).toFixed(0)],
    ]),
  );
  const header = ['workload', 'side', 'median', 'p50 ms', 'p99 ms', ...GROUPS, 'all but the generator'];
  return tableIn(style, header, rows);
}

/** The machine and the moment, without which no figure means anything. */
export function circumstances(version: string, rest: string): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown';
  return `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${model}, Node ${process.version}, ${version} with fsync on; ${rest}.`;
}

export function report(style: Style, results: readonly RowResult[]): string {
  const title = (text: string) => (style === 'markdown' ? `### ${text}` : `${text}:`);
  return [
    title('Ratios'),
    claimTable(style, results),
    title('Processor time, µs a request'),
    cpuTable(style, results),
  ].join('\n\n');
}

/** Writes figures into a page, between the two comments that name their command; into any other file alone. */
export async function writeFigures(file: string, command: string, figures: string): Promise<void> {
  const page = await readFile(file, 'utf8').catch(() => '');
  const [begin, end] = [`<!-- figures of ${command} -->`, `<!-- end of figures of ${command} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) await writeFile(file, `${figures}\n`);
  else await writeFile(file, `${page.slice(0, from + begin.length)}\n\n${figures}\n\n${page.slice(to)}`);
}
