import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';

const HELP = `Usage: npm run test:svix

Runs test/svix, and the suites over every sender of webhooks, on a real Svix server and on the double of it that every other
test uses, and compares the double's contract
with the OpenAPI description that the server serves.

  SVIX_SERVER_URL    where the server is, such as http://127.0.0.1:8071
  SVIX_TOKEN         a token for it: svix-server jwt generate
  SVIX_OPENAPI_FILE  optional: a further description to compare with

The server must be on this machine and allowed to call it: SVIX_WHITELIST_SUBNETS='[127.0.0.1/32]'. With
SVIX_RETRY_SCHEDULE='[1,2,3]' it tries again soon. Without the two settings, nothing is tested and the command exits 0.`;

/** Suites over every sender of webhooks, of which Svix is one. */
const ELSEWHERE = ['test/http/outgoing-senders.test.ts', 'test/outgoing/recovery.test.ts'];

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(ROOT, 'node_modules', '.bin');

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const { SVIX_SERVER_URL: url, SVIX_TOKEN: token } = process.env;
  if (!url || !token) {
    console.log('SKIPPED: nothing was tested on a real Svix server.');
    console.log(
      `Set ${[...(url ? [] : ['SVIX_SERVER_URL']), ...(token ? [] : ['SVIX_TOKEN'])].join(' and ')}.\n\n${HELP}`,
    );
    return;
  }
  await describeServer(url);
  const child = spawn(join(BIN, 'vitest'), ['run', 'test/svix', ...ELSEWHERE], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH ?? ''}`, SVIX_UNDER_TEST: 'real' },
  });
  child.on('error', (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
  child.on('close', (code) => {
    process.exitCode = code ?? 1;
  });
}

/** Says what is tested against; a server that is not there fails at once and not in every test. */
async function describeServer(url: string): Promise<void> {
  const answer = await fetch(`${url}/api/v1/openapi.json`);
  const description = z.object({ info: z.object({ version: z.string() }) }).parse(await answer.json());
  console.log(`Testing on ${url}, which describes its API in version ${description.info.version}.`);
}

await main();
