#!/usr/bin/env node
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { RefusalError } from '../errors.ts';
import { allowClosedPipes, note, printError } from './output.ts';

const WRONG_USAGE = 2;

const FIND_CUSTOMERS = '"npx chokin customers list" finds customers, by --email, --name or --id.';

const HELP_FOOTER = `
Every command takes --json, for scripts, and --help. They work on the database
that DATABASE_URL names, or on that of the npm start that runs in this folder
(DATA_DIR), by the same functions as the HTTP API.

  npx chokin customers list --email ada@example.com
  npx chokin wallets credit cus_… 12.50 USD --reason "Goodwill"
  npx chokin events list --status parked
  npx chokin payments show pi_… --json

Money that arrives, without an account at a provider:

  CHOKIN_WEBHOOK_SECRET=whsec_$(openssl rand -hex 16) \\
    npx chokin sources create --provider stripe --name Trial
  npx chokin simulate topup --customer cus_… --amount 12.50`;

interface Entrance {
  readonly name: string;
  /** A line for the list of commands, without a full stop. */
  readonly summary: string;
  /** Adds the commands of a group to it; or, if this is a command itself, adds that to the program. */
  readonly group?: () => Promise<(group: Command) => void>;
  readonly command?: () => Promise<(program: Command) => void>;
}

/** In the order of the help. */
const ENTRANCES: readonly Entrance[] = [
  {
    name: 'merchants',
    summary: 'Merchants: list, create, suspend, resume',
    group: async () => (await import('./merchants.ts')).addMerchantCommands,
  },
  {
    name: 'keys',
    summary: "Merchants' API keys: list, create, rotate, revoke",
    group: async () => (await import('./keys.ts')).addKeyCommands,
  },
  {
    name: 'sources',
    summary: 'Accounts at payment providers: list, show, create, set, …',
    group: async () => (await import('./sources.ts')).addSourceCommands,
  },
  {
    name: 'events',
    summary: 'What payment providers sent: list, show, replay, dismiss, resolve',
    group: async () => (await import('./events.ts')).addEventCommands,
  },
  {
    name: 'payments',
    summary: "Providers' payments: list, show what happened to one, reassign",
    group: async () => (await import('./payments.ts')).addPaymentCommands,
  },
  {
    name: 'tokens',
    summary: 'Tokens that say what a payment is for: create, revoke',
    group: async () => (await import('./tokens.ts')).addTokenCommands,
  },
  {
    name: 'bonus-rules',
    summary: 'What you give on top of top-ups: list, show, put, delete',
    group: async () => (await import('./bonus-rules.ts')).addBonusRuleCommands,
  },
  {
    name: 'customers',
    summary: 'Customers: list and search, show, anonymise',
    group: async () => (await import('./customers.ts')).addCustomerCommands,
  },
  {
    name: 'links',
    summary: "Which provider's customer is which of ours: list, set, remove",
    group: async () => (await import('./links.ts')).addLinkCommands,
  },
  {
    name: 'wallets',
    summary: "Customers' wallets: show, entries, credit, debit",
    group: async () => (await import('./wallets.ts')).addWalletCommands,
  },
  {
    name: 'holds',
    summary: 'Money that is set aside: place, capture, release, list, show, lift',
    group: async () => (await import('./holds.ts')).addHoldCommands,
  },
  {
    name: 'lots',
    summary: 'Credit with terms, such as a promotion that ends: list, show, void, change',
    group: async () => (await import('./lots.ts')).addLotCommands,
  },
  {
    name: 'schedules',
    summary: 'What is written at times to come: list, put, delete, add, cancel',
    group: async () => (await import('./schedules.ts')).addScheduleCommands,
  },
  {
    name: 'top-ups',
    summary: 'Wallets that are filled up by themselves: list, rule, resume',
    group: async () => (await import('./top-ups.ts')).addTopUpCommands,
  },
  {
    name: 'checkouts',
    summary: 'Purchases that the wallet pays first: list, show, cancel, collect',
    group: async () => (await import('./checkouts.ts')).addCheckoutCommands,
  },
  {
    name: 'simulate',
    summary: 'Let money arrive without an account anywhere: topup, order, refund, dispute',
    group: async () => (await import('./simulate.ts')).addSimulateCommands,
  },
  {
    name: 'reconcile',
    summary: 'Compare a source with its provider, and take in what no webhook told of',
    command: async () => (await import('./reconcile.ts')).addReconcileCommand,
  },
  {
    name: 'reconciliations',
    summary: 'Comparisons with the providers: list',
    group: async () => (await import('./reconcile.ts')).addReconciliationCommands,
  },
  {
    name: 'webhooks',
    summary: 'Outgoing webhooks: status, move, adopt',
    group: async () => (await import('./webhooks.ts')).addWebhookCommands,
  },
  {
    name: 'jobs',
    summary: 'Jobs that wait, and those that were given up: list, dead, redrive',
    group: async () => (await import('./jobs.ts')).addJobCommands,
  },
  {
    name: 'verify',
    summary: 'Prove that a wallet still has the history that a head stands for',
    command: async () => (await import('./verify.ts')).addVerifyCommand,
  },
  {
    name: 'retention',
    summary: 'Forget what is older than the settings say, or show what would be forgotten',
    command: async () => (await import('./retention.ts')).addRetentionCommand,
  },
  { name: 'audit', summary: 'Prove the books', command: async () => (await import('./audit.ts')).addAuditCommand },
];

/**
 * The command line, not yet run. Only what is asked for is loaded: of the others the help shows a line, and loading them
 * all takes six times as long as the help itself.
 */
async function buildProgram(words: readonly string[]): Promise<Command> {
  const program = new Command('chokin')
    .description('Merchants, keys, payment providers, events and wallets of a Chokin')
    .version(await readVersion(), '-v, --version', 'print the version')
    .addHelpText('after', HELP_FOOTER)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${text.trim().replace(/\s*\n\s*/g, ' ')}\n`) });
  const asked = words.find((word) => word !== 'help' && !word.startsWith('-'));
  for (const { name, summary, group, command } of ENTRANCES) {
    if (name === asked && command !== undefined) {
      (await command())(program);
    } else {
      const added = program.command(name).description(summary);
      if (name === asked && group !== undefined) (await group())(added);
    }
  }
  pointToHelp(program, 'chokin');
  return program;
}

async function readVersion(): Promise<string> {
  const packageJson: unknown = JSON.parse(await readFile(join(import.meta.dirname, '../../package.json'), 'utf8'));
  return typeof packageJson === 'object' && packageJson !== null && 'version' in packageJson
    ? String(packageJson.version)
    : 'unknown';
}

/** After a mistake the whole help would hide the line that says what was wrong. */
function pointToHelp(command: Command, path: string): void {
  command.showHelpAfterError(`See "${path} --help".`);
  for (const sub of command.commands) pointToHelp(sub, `${path} ${sub.name()}`);
}

/** Runs what the arguments ask for. Exit codes: 0, 1 for a failure, 2 for wrong usage. */
async function main(): Promise<void> {
  allowClosedPipes();
  try {
    const program = await buildProgram(process.argv.slice(2));
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      // It has said already what was wrong, or shown the help it was asked for.
      process.exitCode = error.exitCode === 0 ? 0 : WRONG_USAGE;
    } else {
      // Loaded now, since it brings the whole configuration, and help is to come at once.
      const { explain } = await import('../commands/explain.ts');
      printError(explain(error));
      if (error instanceof RefusalError && error.refusal.code === 'CUSTOMER_NOT_FOUND') note(FIND_CUSTOMERS);
      process.exitCode = 1;
    }
  }
}

await main();
// Exits at once: a hanging request to a provider would keep the process alive, although its answer is not needed.
process.stdout.write('', () => process.exit());
