import { spawn } from 'node:child_process';
import { glob, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ERROR_STATUS } from '../src/views/error-status.ts';
import { ended, ROOT } from './support/cli.ts';
import { NODE_COMPILE_CACHE } from './support/process.ts';

/** What can be checked of the documentation by a machine: links lead somewhere, and commands are there. */

const names = [
  'README.md',
  'SECURITY.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...(await readdir(join(ROOT, 'docs'), { recursive: true }))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];
const pages = await Promise.all(names.map(async (name) => ({ name, text: await readFile(join(ROOT, name), 'utf8') })));

function anchorsOf(text: string): readonly string[] {
  const headings = [...text.matchAll(/^#{1,4} (.*)$/gm)].map(([, heading = '']) => heading);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replaceAll(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-'),
  );
}

describe('the documentation', () => {
  it('begins with a README that is read in a few minutes', async () => {
    expect((await stat(join(ROOT, 'README.md'))).size).toBeLessThanOrEqual(8 * 1024);
  });

  it.each(pages)('of $name has links that lead somewhere', async ({ name, text }) => {
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(?:https?|mailto):/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? name : normalize(join(dirname(name), path));
      const linked = await stat(join(ROOT, file)).catch(() => null);
      expect(linked, target).not.toBeNull();
      if (anchor === undefined || !file.endsWith('.md')) continue;
      expect(anchorsOf(await readFile(join(ROOT, file), 'utf8')), target).toContain(anchor);
    }
  });

  it.each(pages)('of $name names only files that are there, with their endings', async ({ text }) => {
    for (const [, named = ''] of text.matchAll(
      /`((?:src|jobs|migrations|test|ops)\/[\w./*-]+|[\w./-]+\/[\w-]+\.ts)`/g,
    )) {
      const found = await Array.fromAsync(glob([named, join('src', named)], { cwd: ROOT }));
      expect(found.length, named).toBeGreaterThan(0);
    }
  });

  it('names every page of docs in its index', async () => {
    const index = await readFile(join(ROOT, 'docs/index.md'), 'utf8');
    for (const { name } of pages.filter((page) => page.name.startsWith('docs/') && page.name !== 'docs/index.md')) {
      expect(index).toContain(name.startsWith('docs/decisions/') ? 'decisions/' : `(${name.slice('docs/'.length)})`);
    }
  });

  it('has cause and cure of every error', async () => {
    const api = await readFile(join(ROOT, 'docs/api.md'), 'utf8');
    const rows = [...api.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| ([^|]+) \| ([^|]+) \|$/gm)];
    expect(Object.fromEntries(rows.map(([, code = '', status]) => [code, Number(status)]))).toEqual(ERROR_STATUS);
  });

  it('invents another secret on each page, since whoever reads on in the same folder has the sources of the page before', () => {
    const secrets = pages.flatMap(({ text }) =>
      [...text.matchAll(/CHOKIN_WEBHOOK_SECRET=(\w+)/g)].map(([, secret]) => secret),
    );
    expect(secrets.length).toBeGreaterThan(1);
    expect(new Set(secrets).size).toBe(secrets.length);
  });

  it('names only scripts that package.json has', async () => {
    const { scripts } = z
      .object({ scripts: z.record(z.string(), z.string()) })
      .parse(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')));
    for (const { name, text } of pages) {
      for (const [, script = ''] of text.matchAll(/npm run ([a-z:-]+)/g))
        expect(scripts, `${name}: ${script}`).toHaveProperty(script);
    }
  });

  it('names only commands that npx chokin has', async () => {
    const written = pages.flatMap(({ text }) => [...text.matchAll(/npx chokin ([a-z]+)(?: ([a-z-]+))?/g)]);
    const groups = Map.groupBy(written, ([, group = '']) => group);
    expect(groups.size).toBeGreaterThan(8);
    const helpOf = (group: string) =>
      ended(
        spawn(process.execPath, [join(ROOT, 'src/cli/chokin.ts'), group, '--help'], {
          cwd: join(ROOT, 'test'),
          env: { ...process.env, NODE_COMPILE_CACHE },
        }),
      );
    const helps = await Promise.all(
      [...groups].map(async ([group, uses]) => ({ group, uses, ...(await helpOf(group)) })),
    );
    for (const { group, uses, code, out } of helps) {
      expect(code, group).toBe(0);
      const hasCommands = /^Commands:/m.test(out);
      for (const [, , command] of uses) {
        if (hasCommands && command !== undefined)
          expect(out, `${group} ${command}`).toMatch(new RegExp(`^ +${command}\\b`, 'm'));
      }
    }
  });
});
