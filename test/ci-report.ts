import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';

const HELP = `Usage: node test/ci-report.ts <again test|again faults|counts>

For .ci/run, which leaves vitest's reports in coverage/.

  again <suite>  run the files that failed once more, one at a time; fails if anything fails again. The tests of faults
                 have deadlines, which a machine that others use at the same time may miss. What failed once is printed by
                 counts as UNSTEADY: it passed at last, and wants mending all the same
  counts         print every failure with its message, and then how many tests passed and failed`;

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** More files than this do not fail by chance: they are not run again. */
const MAX_FILES_AGAIN = 8;
const MAX_MESSAGE_CHARS = 2_000;

const suiteSchema = z.enum(['test', 'faults']);
type Suite = z.infer<typeof suiteSchema>;

const reportSchema = z.object({
  success: z.boolean(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string(),
      assertionResults: z.array(
        z.object({ fullName: z.string(), status: z.string(), failureMessages: z.array(z.string()).nullish() }),
      ),
    }),
  ),
});
type FileReport = z.infer<typeof reportSchema>['testResults'][number];

interface Failure {
  readonly test: string;
  readonly message: string;
}

const { values, positionals } = parseArgs({
  options: { help: { type: 'boolean', short: 'h' } },
  allowPositionals: true,
});
if (values.help === true) console.log(HELP);
else if (positionals[0] === 'again') process.exitCode = runAgain(suiteSchema.parse(positionals[1]));
else if (positionals[0] === 'counts') process.exitCode = printCounts();
else {
  console.error(HELP);
  process.exitCode = 1;
}

/** Runs the files of a suite that failed once more. Returns the exit code. */
function runAgain(suite: Suite): number {
  const files = readReport(suite).filter(hasFailed);
  if (files.length === 0) return 1; // Something else failed, such as the coverage.
  if (files.length > MAX_FILES_AGAIN) return 1;
  const paths = files.map(({ name }) => relative(ROOT, name));
  console.log(`Once more, one at a time: ${paths.join(' ')}`);
  const { status } = spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--maxWorkers=1', ...paths],
    {
      cwd: ROOT,
      env: { ...process.env, REPORT: `${suite}-again`, ...(suite === 'faults' ? { FAULTS: 'all' } : {}) },
      stdio: 'inherit',
    },
  );
  return status ?? 1;
}

/** Prints what failed and the counts of both suites. Returns the exit code. */
function printCounts(): number {
  let passed = 0;
  let failed = 0;
  for (const suite of suiteSchema.options) {
    const files = readReport(suite);
    const again = existsSync(reportPath(`${suite}-again`)) ? readReport(`${suite}-again`) : [];
    const failures = files.flatMap(failuresOf);
    const last = files.map((file) => again.find(({ name }) => name === file.name) ?? file);
    const lastFailures = last.flatMap(failuresOf);
    const isUnsteady = ({ test }: Failure) => !lastFailures.some((other) => other.test === test);
    for (const failure of failures.filter(isUnsteady)) print('UNSTEADY', failure);
    for (const failure of lastFailures) print('FAILED', failure);
    passed += last.flatMap((file) => file.assertionResults).filter(({ status }) => status === 'passed').length;
    failed += lastFailures.length;
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

function hasFailed(file: FileReport): boolean {
  return failuresOf(file).length > 0;
}

/** The failed tests of a file, or the file itself where it failed before its tests. */
function failuresOf({ name, status, message, assertionResults }: FileReport): readonly Failure[] {
  const path = relative(ROOT, name);
  const failures = assertionResults
    .filter((result) => result.status === 'failed')
    .map(({ fullName, failureMessages }) => ({
      test: `${path}: ${fullName}`,
      message: (failureMessages ?? []).join('\n'),
    }));
  return failures.length === 0 && status === 'failed' ? [{ test: path, message }] : failures;
}

function print(word: string, { test, message }: Failure): void {
  console.log(`${word} ${test}\n${message.slice(0, MAX_MESSAGE_CHARS)}`);
}

function readReport(name: string): readonly FileReport[] {
  return reportSchema.parse(JSON.parse(readFileSync(reportPath(name), 'utf8'))).testResults;
}

function reportPath(name: string): string {
  return `${ROOT}coverage/${name}-report.json`;
}
