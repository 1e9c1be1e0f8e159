import { execFile } from 'node:child_process';
import { access, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ROOT } from './support/cli.ts';
import { readAlerts, readDashboard, readRunbook, selectorsIn, seriesIn } from './support/ops-files.ts';
import { parsePlainYaml } from './support/plain-yaml.ts';

describe('the dashboard', () => {
  it('can be imported: every panel has an id and a place of its own, and reads the Prometheus that is chosen', async () => {
    const { panels, templating } = await readDashboard();
    expect(templating.list).toMatchObject([{ name: 'datasource', type: 'datasource' }, { name: 'job' }]);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Set<string>();
    for (const { type, title, targets, datasource, gridPos } of panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x},${y}`), title).toBe(false);
          taken.add(`${x},${y}`);
        }
      }
      if (type === 'row') continue;
      expect(datasource, title).toBeDefined();
      expect(targets.length, title).toBeGreaterThan(0);
      expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length);
      for (const { expr } of targets) expect(expr, title).toContain('job=~"$job"');
    }
    const rows = panels.filter(({ type }) => type === 'row').map(({ title }) => title);
    expect(rows).toEqual([
      'Is money stuck?',
      'Traffic',
      'Batchers and database',
      'Wallets announced',
      'Audit and reconciliation',
      'Processes',
    ]);
  });
});

describe('the alert rules', () => {
  it('have names of their own, and the runbook says what each means', async () => {
    const alerts = await readAlerts();
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
    const runbook = await readRunbook();
    for (const { alert, annotations } of alerts) {
      const [file, anchor = ''] = annotations.runbook_url.split('#');
      expect(file).toBe('docs/runbook.md');
      expect(runbook.get(anchor), `#${anchor}`).toContain(`**${alert}**`);
    }
  });

  it('are explained nowhere without being there', async () => {
    const names = new Set((await readAlerts()).map(({ alert }) => alert));
    const text = [...(await readRunbook()).values()].join('\n');
    for (const [, name = ''] of text.matchAll(/\*\*(Chokin[A-Z]\w+)\*\*/g)) expect(names).toContain(name);
  });
});

describe('what reads them', () => {
  it('finds the series in an expression, and no function, keyword, label or duration', () => {
    const expression =
      'histogram_quantile(0.99, sum by (le, lane) (rate(a_bucket{job=~"x",lane!="by"}[5m]))) > 1 and max(b offset 1d) - c == 0';
    expect(selectorsIn(expression)).toEqual([
      { metric: 'a_bucket', labels: ['job', 'lane'] },
      { metric: 'b', labels: [] },
      { metric: 'c', labels: [] },
    ]);
  });

  it('finds the series in a Prometheus text, those without a sample too', () => {
    const text = '# TYPE a counter\n# TYPE b histogram\nb_bucket{le="1",lane="x"} 2\nb_sum{lane="x"} 2\n';
    expect([...seriesIn(text)].map(([name, labels]) => [name, [...labels]])).toEqual([
      ['a', []],
      ['b_bucket', ['le', 'lane']],
      ['b_sum', ['lane']],
      ['b_count', []],
    ]);
  });

  it('reads plain YAML', () => {
    const text =
      '# comment\na:\n  - b: x y\n    c: "q: \\" #"\n  - b: >-\n      one\n      two\n    d:\n      e: max(f) > 0\ng: 5m\n';
    expect(parsePlainYaml(text)).toEqual({
      a: [
        { b: 'x y', c: 'q: " #' },
        { b: 'one two', d: { e: 'max(f) > 0' } },
      ],
      g: '5m',
    });
  });

  it.each([
    ['a tab', 'a:\n\tb: c'],
    ['a key twice', 'a: b\na: c'],
    ['a comment behind a value', 'a: b # c'],
    ['a mapping in a line', 'a: {b: c}'],
    ['a colon in a plain text', 'a: b: c'],
    ['a key without a value', 'a:\nb: c'],
    ['a line without a key', 'a: b\nc'],
    ['a list of texts', 'a:\n  - b'],
    ['a single-quoted text', "a: 'b'"],
    ['another indentation', 'a: b\n  c: d'],
    ['an alias', 'a: *b'],
    ['spaces at the end', 'a: b '],
  ])('refuses %s, which readers of YAML take in different ways', (_, text) => {
    expect(() => parsePlainYaml(text)).toThrow(/^line \d+: /);
  });
});

describe('the units for systemd', () => {
  const UNITS = { release: 'migrate', web: 'web', worker: 'worker' };
  const textOf = (unit: string) => readFile(join(ROOT, `ops/systemd/chokin-${unit}.service`), 'utf8');

  it('start what the Procfile starts', async () => {
    const procfile = await readFile(join(ROOT, 'Procfile'), 'utf8');
    for (const [process, unit] of Object.entries(UNITS)) {
      const text = await textOf(unit);
      const started = /^ExecStart=\/opt\/chokin\/(.+)$/m.exec(text)?.[1] ?? '';
      const host = /^Environment=(HOST=.+)$/m.exec(text)?.[1];
      expect(procfile).toContain(`${process}: exec ${host === undefined ? '' : `env ${host} `}${started}\n`);
    }
  });

  it('are what systemd understands, where it is installed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-units-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await cp(join(ROOT, 'ops/systemd'), folder, { recursive: true });
    const files: string[] = [];
    for (const unit of Object.values(UNITS)) {
      const file = join(folder, `chokin-${unit}.service`);
      // The program has to exist where it is verified.
      await writeFile(file, (await textOf(unit)).replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
      files.push(file);
    }
    const verified = promisify(execFile)('systemd-analyze', ['verify', '--man=no', ...files]);
    const complaints = await verified.then(
      ({ stderr }) => stderr,
      (error: NodeJS.ErrnoException & { stderr: string }) => (error.code === 'ENOENT' ? '' : error.stderr),
    );
    expect(complaints.split('\n').filter((line) => line.includes(folder) || /chokin-\w+\.service/.test(line))).toEqual(
      [],
    );
  });
});

describe('the Containerfile', () => {
  it('copies what is there, starts what the Procfile starts, and not as root', async () => {
    const text = await readFile(join(ROOT, 'ops/Containerfile'), 'utf8');
    const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, files = '']) => files.split(' '));
    expect(copied).toEqual(expect.arrayContaining(['src', 'jobs', 'migrations', 'package-lock.json', 'README.md']));
    for (const file of copied) await access(join(ROOT, file));
    const procfile = await readFile(join(ROOT, 'Procfile'), 'utf8');
    const started = [...text.matchAll(/node (?:--\S+ )?(\S+\.ts)|"node", (?:"--\S+", )?"(\S+\.ts)"/g)].map(
      ([, shell, json]) => shell ?? json ?? '',
    );
    expect(new Set(started)).toEqual(new Set(['src/commands/migrate.ts', 'src/web.ts', 'jobs/worker.ts']));
    for (const file of started) expect(procfile).toContain(file);
    expect(text).toMatch(/^USER node$/m);
  });
});
