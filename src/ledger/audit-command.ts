import { parseArgs } from 'node:util';
import { loadConfig } from '../config.ts';
import { createPool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { createLogger } from '../log.ts';
import { formatMinor } from '../money.ts';
import { formatTable } from '../table.ts';
import { type AuditReport, audit } from './audit.ts';

const HELP = `Usage: npm run audit [-- --json]

Recomputes every balance of the database that DATABASE_URL names from its entries, checks the invariants of
src/ledger/README.md, prints the books and every disagreement, and exits 1 if there is one.

  --json   print the report as JSON`;

/** The report for people: balances, trial balance, and what disagrees. */
export function renderAudit({ balances, trialBalance, disagreements }: AuditReport): string {
  const held = balances.map((row) => [
    row.merchantId,
    row.currency,
    row.wallets,
    row.entries,
    formatMinor(row.balance, row.currency),
  ]);
  const given = trialBalance.map((row) => [
    row.merchantId,
    row.currency,
    row.account,
    formatMinor(-row.credit, row.currency),
    formatMinor(row.debit, row.currency),
    formatMinor(row.debit - row.credit, row.currency),
  ]);
  const wallets = balances.map((row) => [
    row.merchantId,
    row.currency,
    'wallets',
    '',
    '',
    formatMinor(row.balance, row.currency),
  ]);
  const parts = [
    'Wallets',
    formatTable(['merchant', 'currency', 'wallets', 'entries', 'balance'], held),
    '',
    'Trial balance (sums to zero by merchant and currency)',
    formatTable(
      ['merchant', 'currency', 'account', 'gave', 'took back', 'net'],
      [...given, ...wallets].sort((a, b) => `${a[0]} ${a[1]}`.localeCompare(`${b[0]} ${b[1]}`)),
    ),
    '',
  ];
  if (disagreements.length === 0) return [...parts, 'The books agree.'].join('\n');
  const wrong = formatTable(
    ['rule', 'where', 'what'],
    disagreements.map((one) => [one.rule, one.subject, one.detail]),
  );
  return [...parts, `${disagreements.length} disagreements`, wrong].join('\n');
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' }, json: { type: 'boolean' } } });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const config = loadConfig();
  if (config.DATABASE_URL === undefined) {
    throw new Error('DATABASE_URL: wants the database to audit (npm start prints the URL of its embedded one)');
  }
  const logger = createLogger(config.LOG_LEVEL, 'audit');
  const pool = createPool({
    databaseUrl: config.DATABASE_URL.reveal(),
    applicationName: 'chokin-audit',
    maxConnections: 1,
    logger,
    statementTimeoutMs: 0,
  });
  try {
    const report = await audit(autocommit(pool));
    console.log(values.json ? JSON.stringify(report, null, 2) : renderAudit(report));
    if (report.disagreements.length > 0) process.exitCode = 1;
  } finally {
    await pool.end();
  }
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
}
