import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ROOT } from './cli.ts';
import { parsePlainYaml } from './plain-yaml.ts';

const panel = z.object({
  id: z.int(),
  type: z.enum(['row', 'stat', 'timeseries']),
  title: z.string().min(1),
  gridPos: z.object({ h: z.int(), w: z.int(), x: z.int(), y: z.int() }),
  datasource: z.object({ uid: z.literal('$' + '{datasource}') }).optional(),
  targets: z.array(z.object({ refId: z.string(), expr: z.string().min(1) })).default([]),
});

const dashboard = z.object({
  uid: z.string(),
  title: z.string(),
  schemaVersion: z.int(),
  templating: z.object({ list: z.array(z.object({ name: z.string(), type: z.string() })) }),
  panels: z.array(panel),
});

const rule = z.strictObject({
  alert: z.string().regex(/^Chokin[A-Z][A-Za-z]+$/),
  expr: z.string(),
  for: z
    .string()
    .regex(/^\d+[mh]$/)
    .optional(),
  labels: z.strictObject({ severity: z.enum(['page', 'ticket']) }),
  annotations: z.strictObject({ summary: z.string(), description: z.string(), runbook_url: z.string() }),
});

const rules = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), rules: z.array(rule).min(1) })).min(1),
});

export type AlertRule = z.infer<typeof rule>;

export async function readDashboard() {
  return dashboard.parse(JSON.parse(await readFile(join(ROOT, 'ops/grafana-dashboard.json'), 'utf8')));
}

export async function readAlerts(): Promise<readonly AlertRule[]> {
  const { groups } = rules.parse(parsePlainYaml(await readFile(join(ROOT, 'ops/alerts.yml'), 'utf8')));
  return groups.flatMap((group) => group.rules);
}

/** Every expression of both files. */
export async function readExpressions(): Promise<readonly string[]> {
  const { panels } = await readDashboard();
  const alerts = await readAlerts();
  return [...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)), ...alerts.map(({ expr }) => expr)];
}

/** The text under each heading of the runbook, by the anchor that the heading has. */
export async function readRunbook(): Promise<ReadonlyMap<string, string>> {
  const sections = (await readFile(join(ROOT, 'docs/runbook.md'), 'utf8')).split(/^#{2,4} /m);
  return new Map(
    sections.map((section) => {
      const [heading = ''] = section.split('\n', 1);
      return [
        heading
          .toLowerCase()
          .replaceAll(/[^a-z0-9 -]/g, '')
          .replaceAll(' ', '-'),
        section,
      ];
    }),
  );
}

export interface Selector {
  readonly metric: string;
  readonly labels: readonly string[];
}

const WORDS = new Set(['and', 'or', 'unless', 'by', 'without', 'offset', 'on', 'ignoring', 'bool']);

/** The series that an expression of PromQL reads, each with the labels it is chosen by. */
export function selectorsIn(expression: string): readonly Selector[] {
  const bare = expression.replaceAll(/\b(?:by|without|on|ignoring) ?\([^)]*\)|\[[^\]]*\]/g, '');
  return [...bare.matchAll(/(?<![\w.])([a-zA-Z_:][\w:]*)(?:\{([^}]*)\}|(?! *\()\b)/g)].flatMap(
    ([, metric = '', inside = '']) => {
      if (WORDS.has(metric)) return [];
      return [{ metric, labels: [...inside.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label) }];
    },
  );
}

/** The labels by which an expression keeps results apart. */
export function groupingsIn(expression: string): readonly string[] {
  return [...expression.matchAll(/\bby ?\(([^)]*)\)/g)].flatMap(([, inside = '']) =>
    inside.split(',').map((label) => label.trim()),
  );
}

/** The series of a Prometheus text: for each name that may be selected, the labels it was seen with. */
export function seriesIn(text: string): ReadonlyMap<string, ReadonlySet<string>> {
  const series = new Map<string, Set<string>>();
  for (const line of text.split('\n')) {
    const [, declared, kind] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    const suffixes = kind === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    if (declared !== undefined) for (const suffix of suffixes) series.set(declared + suffix, new Set());
    const [, name = '', labels = ''] = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) series.get(name)?.add(label);
  }
  return series;
}
