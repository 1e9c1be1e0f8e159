import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { formatTable } from '../../src/views/table.ts';
import { MUTANTS, type Mutant } from './mutants.ts';

const HELP = `Usage: npm run mutants [-- --only <text> --in <text>]

Breaks the code on purpose in ${MUTANTS.length} ways, each in a copy of the checkout, and shows which tests catch each. Exits 1 if one
survives. First it runs the same tests on the unbroken copy: a test that fails anyway catches nothing.

  --only <text>   those whose name contains the text; given several times, any of the texts
  --in <text>     those in a file whose path contains the text, such as src/payments`;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COPIED = [
  'src',
  'jobs',
  'migrations',
  'test',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
  '.env.example',
  'README.md',
  'docs',
  'ops',
];

const report = z.object({
  testResults: z.array(
    z.object({ assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })), status: z.string() }),
  ),
});

interface MutantResult {
  readonly passed: boolean;
  /** Tests that failed, by their full names; none if a whole file did. */
  readonly failed: readonly string[];
}

/** Runs test files in a checkout. */
async function runTests(checkout: string, files: readonly string[]): Promise<MutantResult> {
  const output = join(checkout, 'report.json');
  await rm(output, { force: true });
  const args = ['node_modules/vitest/vitest.mjs', 'run', ...files, '--reporter=json', `--outputFile=${output}`];
  const child = spawn(process.execPath, args, { cwd: checkout, env: { ...process.env, CI: '' }, stdio: 'ignore' });
  const code = await new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  const text = await readFile(output, 'utf8').catch(() => null);
  if (text === null) return { passed: false, failed: [] };
  const { testResults } = report.parse(JSON.parse(text));
  const failed = testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
  );
  return { passed: code === 0, failed };
}

/** Runs a mutant's tests with its mistake in place. @throws {Error} if the text to break is not there, or not once */
async function tryMutant(checkout: string, { name, file, find, replace, tests }: Mutant): Promise<MutantResult> {
  const path = join(checkout, file);
  const original = await readFile(path, 'utf8');
  if (original.split(find).length !== 2) throw new Error(`${name}: its text must stand in ${file} once`);
  await writeFile(
    path,
    original.replace(find, () => replace),
  );
  try {
    return await runTests(checkout, tests);
  } finally {
    await writeFile(path, original);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true, default: [''] },
      in: { type: 'string', default: '' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const mutants = MUTANTS.filter(
    ({ name, file }) => values.only.some((text) => name.includes(text)) && file.includes(values.in),
  );
  const checkout = await mkdtemp(join(tmpdir(), 'chokin-mutants-'));
  try {
    for (const name of COPIED) {
      await cp(join(ROOT, name), join(checkout, name), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
    await symlink(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
    const files = [...new Set(mutants.flatMap(({ tests }) => tests))];
    console.log(`Running ${files.length} test files on the unbroken copy …`);
    const sound = await runTests(checkout, files);
    if (!sound.passed) throw new Error(`the unbroken copy fails: ${sound.failed.join('; ') || 'see npm test'}`);
    const rows: [string, string, string][] = [];
    for (const mutant of mutants) {
      const { passed, failed } = await tryMutant(checkout, mutant);
      const [first = 'a test file as a whole', ...others] = failed;
      const by = others.length === 0 ? first : `${first} (and ${others.length} more)`;
      rows.push([mutant.name, passed ? 'SURVIVED' : 'caught', passed ? '' : by]);
      console.log(`${passed ? 'SURVIVED' : 'caught  '}  ${mutant.name}`);
    }
    const survivors = rows.filter(([, result]) => result === 'SURVIVED').length;
    console.log(`\n${formatTable(['mistake', 'result', 'caught by'], rows)}\n`);
    console.log(`${rows.length - survivors} caught, ${survivors} survived`);
    if (survivors > 0) process.exitCode = 1;
  } finally {
    await rm(checkout, { recursive: true, force: true });
  }
}

await main();
