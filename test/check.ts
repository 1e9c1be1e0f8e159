import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openApiDocument } from '../src/http/kit/openapi.ts';
import { ROUTES } from '../src/http/routes.ts';
import { checkArchitecture, renderViolation } from './support/architecture.ts';

const HELP = `Usage: npm run check

Checks types (tsc), that no file, export or dependency is dead (knip), the shape of the program
(test/support/architecture.ts), the API document (redocly), and lint and format (biome), one after the other. Changes nothing;
prints the output of what failed; exits 1 if anything did. \`npm run format\` mends the format.`;

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BIN = join(ROOT, 'node_modules', '.bin');

/** Redocly would tell its makers of its use, and look for a newer version. */
const QUIET = { REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' };

interface CheckResult {
  readonly passed: boolean;
  readonly output: string;
}

/** Runs an installed tool, with the installed Node first in its path, whatever Node runs this. */
function runTool(name: string, args: readonly string[]): Promise<CheckResult> {
  const { promise, resolve } = Promise.withResolvers<CheckResult>();
  const path = `${BIN}${delimiter}${process.env.PATH ?? ''}`;
  const child = spawn(join(BIN, name), args, { cwd: ROOT, env: { ...process.env, ...QUIET, PATH: path } });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.on('error', (error) => resolve({ passed: false, output: error.message }));
  child.on('close', (code) => resolve({ passed: code === 0, output: Buffer.concat(chunks).toString().trim() }));
  return promise;
}

async function checkShape(): Promise<CheckResult> {
  const violations = await checkArchitecture(ROOT);
  return { passed: violations.length === 0, output: violations.map(renderViolation).join('\n') };
}

/** Lints the API document as the service gives it out with its default currencies, by the rules of redocly.yaml. */
async function lintApiDocument(): Promise<CheckResult> {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-openapi-'));
  try {
    const file = join(folder, 'openapi.json');
    await writeFile(file, JSON.stringify(openApiDocument(ROUTES, ['USD', 'INR']), null, 2));
    return await runTool('redocly', ['lint', file, '--config', join(ROOT, 'redocly.yaml')]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const CHECKS: readonly { readonly name: string; readonly run: () => Promise<CheckResult> }[] = [
  { name: 'types', run: () => runTool('tsc', ['--noEmit']) },
  { name: 'nothing dead', run: () => runTool('knip', ['--no-progress']) },
  { name: 'architecture', run: checkShape },
  { name: 'API document', run: lintApiDocument },
  {
    name: 'lint and format',
    run: () => runTool('biome', ['check', '--error-on-warnings', '--max-diagnostics=200', '.']),
  },
];

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(HELP);
    return;
  }
  for (const { name, run } of CHECKS) {
    const startedAt = performance.now();
    const { passed, output } = await run();
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    console.log(`${passed ? 'ok    ' : 'FAILED'}  ${name.padEnd(16)} ${seconds} s`);
    if (!passed) {
      console.log(`${output}\n`);
      process.exitCode = 1;
    }
  }
}

await main();
