import { parseArgs } from 'node:util';
import { z } from 'zod';
import { audit } from '../../src/audit/checks.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { growth } from './growth.ts';
import { circumstances, report, writeFigures } from './report.ts';
import { Rig } from './rig.ts';
import { measure, type Row, type RowResult } from './row.ts';
import { CHECKOUT_ROWS } from './rows/checkouts.ts';
import { DELIVERY_ROWS } from './rows/deliveries.ts';
import { EVENT_ROWS } from './rows/events.ts';
import { HISTORY_ROWS } from './rows/history.ts';
import { bytesPerClosedHold, HOLD_ROWS } from './rows/holds.ts';
import { LOT_ROWS } from './rows/lots.ts';
import { POSTING_ROWS } from './rows/postings.ts';
import { SCAN_ROWS } from './rows/scan.ts';
import { svixRows } from './rows/svix.ts';
import { SWEEP_ROWS } from './rows/sweeps.ts';
import { TOP_UP_ROWS } from './rows/top-ups.ts';

const HELP = `Usage: npm run bench [-- --rounds 3 --seconds 2 --only W2]
       npm run bench -- growth [--largest 1000000]

Measures the service beside two baselines (naive, and strong: with named statements), beside what no service on this machine can
pass (bare node:http, bare Express, HTTP + HMAC, SQL in batches of 500), and its own parts beside its plain debits. All sides of a row
are measured in turn in every block; the median of the blocks' ratios counts, and their range is shown. Besides, the processor's
time a request takes in each process and in Postgres' backends. Postgres runs with fsync on. Ends with an audit of the books.

  --rounds N       blocks of a row (3)
  --seconds S      seconds a measurement (2)
  --only TEXT      only rows whose id and name contain TEXT; may be given several times
  --scale S        tables of rows about large tables, as a share of their size (1)
  --markdown FILE  writes the tables as Markdown as well; into docs/performance.md at their place
  --list           names the rows and measures nothing

growth measures debits, reads, pages of history, claims of the announcer and the scan of low balances at 10,000 to 10,000,000 entries
(--largest stops earlier), and debits by 1, 2 and 4 web processes.

Messages through Svix are measured where SVIX_SERVER_URL and SVIX_TOKEN name a Svix server that may call 127.0.0.1.`;

const rows = (): readonly Row[] => [
  ...[...EVENT_ROWS, ...POSTING_ROWS, ...HISTORY_ROWS, ...SCAN_ROWS, ...DELIVERY_ROWS],
  ...[...HOLD_ROWS, ...LOT_ROWS, ...SWEEP_ROWS, ...CHECKOUT_ROWS, ...TOP_UP_ROWS, ...svixRows()],
];

/** @returns whether the books agree */
async function auditBooks(rig: Rig): Promise<boolean> {
  const pool = rig.pool(await rig.main());
  const { disagreements } = await audit(autocommit(pool));
  const bytes = await bytesPerClosedHold(pool);
  if (bytes !== null) console.log(`\nA closed hold takes ${bytes} bytes with its indexes; 450 is the most it should.`);
  const isRight = disagreements.length === 0;
  console.log(
    isRight ? '\nThe books agree.' : `\nTHE BOOKS DISAGREE: ${JSON.stringify(disagreements).slice(0, 3_000)}`,
  );
  return isRight;
}

const number = z.coerce.number().positive();
const options = z.object({
  rounds: number.int(),
  seconds: number,
  scale: number,
  only: z.array(z.string()),
  markdown: z.string().optional(),
  largest: number.int(),
});

async function run({ rounds, seconds, scale, only, markdown }: z.output<typeof options>): Promise<void> {
  const wanted = rows().filter(({ id, name }) => only.some((text) => `${id} ${name}`.includes(text)));
  if (wanted.length === 0) throw new Error('No row has such a name; --list names them.');
  const rig = await Rig.start();
  try {
    const where = circumstances(await rig.version(), `${rounds} blocks, ${seconds} s a measurement`);
    console.log(where);
    const results: RowResult[] = [];
    for (const row of wanted) {
      const startedAt = performance.now();
      results.push(await measure(row, { rig, seconds, scale }, rounds));
      process.stderr.write(`  that took ${Math.round((performance.now() - startedAt) / 1000)} s\n`);
      // After each row, so that a run which is broken off leaves what it has.
      if (markdown !== undefined)
        await writeFigures(markdown, 'npm run bench', `${where}\n\n${report('markdown', results)}`);
    }
    console.log(`\n${report('terminal', results)}`);
    if (!(await auditBooks(rig))) process.exitCode = 1;
  } finally {
    await rig.stop();
  }
}

async function runGrowth({ rounds, seconds, largest, markdown }: z.output<typeof options>): Promise<void> {
  const rig = await Rig.start();
  try {
    const where = circumstances(await rig.version(), `medians of ${rounds}, ${seconds} s a measurement`);
    console.log(where);
    const tables = await growth({ rig, largest, rounds, seconds });
    console.log(`\n${tables('terminal')}`);
    if (markdown !== undefined)
      await writeFigures(markdown, 'npm run bench -- growth', `${where}\n\n${tables('markdown')}`);
  } finally {
    await rig.stop();
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean', short: 'h' },
    list: { type: 'boolean' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    scale: { type: 'string', default: '1' },
    only: { type: 'string', multiple: true, default: [''] },
    markdown: { type: 'string' },
    largest: { type: 'string', default: '10000000' },
  },
});
if (values.help) console.log(HELP);
else if (values.list) for (const { id, name } of rows()) console.log(`${id} ${name}`);
else if (positionals[0] === 'growth') await runGrowth(options.parse(values));
else await run(options.parse(values));
