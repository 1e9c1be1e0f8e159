import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { ROOT } from '../support/cli.ts';

/** What is installed is what was looked at: see "What we depend on" in SECURITY.md. */

const manifest = z
  .object({
    dependencies: z.record(z.string(), z.string()),
    devDependencies: z.record(z.string(), z.string()),
    optionalDependencies: z.record(z.string(), z.string()),
    engines: z.object({ node: z.string() }),
    allowScripts: z.record(z.string(), z.boolean()),
  })
  .parse(await readJson('package.json'));

const LOCKFILE = z.object({
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      integrity: z.string().optional(),
      license: z.string().optional(),
      dev: z.boolean().default(false),
      hasInstallScript: z.boolean().default(false),
    }),
  ),
});
const lockfile = LOCKFILE.parse(await readJson('package-lock.json'));

/** The folders whose code runs in production. */
const SOURCES = ['src', 'jobs'];

/** Without the project itself, whose path is empty. */
const packagesOf = ({ packages }: z.infer<typeof LOCKFILE>) =>
  Object.entries(packages)
    .filter(([path]) => path !== '')
    .map(([path, entry]) => ({ name: path.replace(/^.*node_modules\//, ''), ...entry }));
const installed = packagesOf(lockfile);

/** Permissive ones: they ask for a notice at most. */
const LICENCES: ReadonlySet<string | undefined> = new Set([
  'MIT',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
  'Unlicense',
  '(MIT OR CC0-1.0)',
]);

async function readJson(file: string): Promise<unknown> {
  return JSON.parse(await readFile(join(ROOT, file), 'utf8'));
}

it('every version is exact', () => {
  const wanted = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies };
  const ranges = Object.entries(wanted).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version));
  expect(ranges).toEqual([]);
  for (const [name, version] of Object.entries(wanted)) {
    expect(lockfile.packages[`node_modules/${name}`]?.version, name).toBe(version);
  }
});

it('every package is known by its digest', () => {
  expect(installed.length).toBeGreaterThan(100);
  expect(installed.filter(({ integrity = '' }) => !integrity.startsWith('sha512-'))).toEqual([]);
});

it('npm ci --omit=dev installs all that the service imports, and the Node that runs it wherever npm runs', async () => {
  const isInstalled = (name: string) => lockfile.packages[`node_modules/${name}`]?.dev === false;
  const imported = new Set<string>();
  for (const folder of SOURCES) {
    for (const file of await readdir(join(ROOT, folder), { recursive: true })) {
      if (!file.endsWith('.ts')) continue;
      const text = await readFile(join(ROOT, folder, file), 'utf8');
      for (const [, name] of text.matchAll(
        /(?:^(?:import|(?:import|export|\}).* from) |import\()'((?:@[\w-]+\/)?[\w.-]+)[^']*'/gm,
      )) {
        if (name !== undefined && !/^(?:node$|\.)/.test(name)) imported.add(name);
      }
    }
  }
  expect(imported.size).toBeGreaterThan(10);
  expect([...imported, 'node'].filter((name) => !isInstalled(name))).toEqual([]);
  expect(manifest.allowScripts).toMatchObject({ node: true });
  expect(manifest.engines.node).toBe('>=20');
});

it('what the service runs on is under a permissive licence', () => {
  const others = installed.filter(({ dev, license }) => !dev && !LICENCES.has(license));
  expect(others.map(({ name, license }) => `${name}: ${license}`)).toEqual([]);
});

it('each install script is allowed or refused by name, and nothing else is named', () => {
  const scripted = new Set(installed.filter(({ hasInstallScript }) => hasInstallScript).map(({ name }) => name));
  expect(Object.keys(manifest.allowScripts).sort()).toEqual([...scripted].sort());
});

/** Their `licenses`, which npm does not carry into a lock file, say MIT. */
const MIT_IN_THE_OLD_FORM: ReadonlySet<string> = new Set([
  ...['compute-gcd', 'compute-lcm', 'validate.io-function', 'validate.io-integer'],
  ...['validate.io-integer-array', 'validate.io-number'],
]);

it('Prism, which npm run test:prism installs by itself, is known by version, digest and licence', async () => {
  const folder = 'test/real-apis/prism';
  const { dependencies } = z
    .object({ dependencies: z.record(z.string(), z.string()) })
    .parse(await readJson(`${folder}/package.json`));
  expect(Object.values(dependencies)).toEqual([expect.stringMatching(/^\d+\.\d+\.\d+$/)]);
  const packages = packagesOf(LOCKFILE.parse(await readJson(`${folder}/package-lock.json`)));
  expect(packages.filter(({ integrity = '' }) => !integrity.startsWith('sha512-'))).toEqual([]);
  const others = packages.filter(({ name, license }) => !LICENCES.has(license) && !MIT_IN_THE_OLD_FORM.has(name));
  expect(others.map(({ name, license }) => `${name}: ${license}`)).toEqual([]);
});
