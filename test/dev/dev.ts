import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { z } from 'zod';

const HELP = `Usage: npm run dev

Is npm start and two things more: it starts again whenever a file that it has loaded changes, and the first time it
fills its database with a small shop: customers, a source of Stripe, top-ups, usage, a refund. Its data is in .data/dev,
apart from that of npm start, and its API key is always the same. Ctrl-C stops it. Delete .data/dev to begin anew.`;

const ROOT = join(import.meta.dirname, '../..');

/** What .env and the environment do not say. The key is written here for everybody, so it is worth nothing elsewhere. */
const DEFAULTS = { DATA_DIR: '.data/dev', API_KEY: 'ck_test_for_development_and_nothing_else' };

const SHOP = [
  { name: 'Ada Lovelace', email: 'ada@example.com', paid: '25.00', usedMinor: 450, refunded: null },
  { name: 'Grace Hopper', email: 'grace@example.com', paid: '80.00', usedMinor: 1_999, refunded: '10.00' },
  { name: 'Alan Turing', email: 'alan@example.com', paid: null, usedMinor: 0, refunded: null },
];

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const env = { ...DEFAULTS, ...process.env };
  const args = ['--watch', '--watch-preserve-output', 'src/main.ts'];
  const service = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] });
  // Ctrl-C reaches the service too; a process manager signals this process alone.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => service.kill('SIGTERM'));

  let output: string | null = '';
  service.stdout.on('data', (chunk: Buffer) => {
    process.stdout.write(chunk);
    if (output === null) return;
    output += chunk.toString();
    const [, url] = /^Listening (\S+)[\s\S]*the worker is ready/m.exec(output) ?? [];
    if (url === undefined) return;
    // Whatever database .env may name, only one of npm start's own is filled.
    if (output.includes('Starting the embedded Postgres'))
      seed(url, env).catch((error: unknown) => console.error(error));
    output = null;
  });
  const [code] = await once(service, 'exit');
  process.exitCode = typeof code === 'number' ? code : 1;
}

/** Fills an empty database, by what any user could type. */
async function seed(url: string, env: typeof DEFAULTS & NodeJS.ProcessEnv): Promise<void> {
  const chokin = async (words: string, more: object = {}): Promise<unknown> => {
    const args = [join(ROOT, 'src/cli/chokin.ts'), ...words.split(' '), '--json'];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env: { ...env, ...more } });
    return JSON.parse(stdout);
  };
  const post = async (path: string, body: object): Promise<unknown> => {
    const headers = { authorization: `Bearer ${env.API_KEY}`, 'content-type': 'application/json' };
    const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };

  const { items } = z.object({ items: z.array(z.unknown()) }).parse(await chokin('customers list'));
  if (items.length === 0) {
    const secret = { CHOKIN_WEBHOOK_SECRET: 'whsec_for_development' };
    const made = await chokin('sources create --provider stripe --name Development', secret);
    const { source_id: source } = z.object({ source_id: z.string() }).parse(made);
    for (const { name, email, paid, usedMinor, refunded } of SHOP) {
      const { customer_id: id } = z
        .object({ customer_id: z.string() })
        .parse(await post('/customers', { name, email }));
      if (paid === null) continue;
      const topup = await chokin(`simulate topup --source ${source} --customer ${id} --amount ${paid} --url ${url}`);
      const usage = {
        amount: usedMinor,
        currency: 'USD',
        entry_type: 'debit',
        reason: 'Usage',
        idempotency_key: 'usage-1',
      };
      await post(`/customers/${id}/wallets/ledger-entries`, usage);
      if (refunded === null) continue;
      const { sent } = z.object({ sent: z.object({ payment_id: z.string() }) }).parse(topup);
      await chokin(`simulate refund --payment ${sent.payment_id} --amount ${refunded} --url ${url}`);
    }
  }
  console.log(`
A shop to try things with: ${SHOP.map(({ email }) => email).join(', ')}.
  API key       ${env.API_KEY}
  command line  DATA_DIR=${env.DATA_DIR} npx chokin customers list
`);
}

await main();
