#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { explain } from '../command.ts';
import { allowClosedPipes, printError } from './output.ts';

const WRONG_USAGE = 2;

const HELP_FOOTER = `
Every command takes --json, for scripts, and --help. They work on the database
that DATABASE_URL names, or on that of the npm start that runs in this folder
(DATA_DIR), by the same functions as the HTTP API.

  chokin events list --status parked
  chokin wallets credit cus_… 12.50 USD --reason "Goodwill"
  chokin payments show pi_… --json`;

/** In the order of the help. */
const GROUPS: readonly { readonly names: readonly string[]; load(): Promise<(program: Command) => void> }[] = [
  { names: ['merchants'], load: async () => (await import('./merchants.ts')).addMerchantCommands },
  { names: ['keys'], load: async () => (await import('./keys.ts')).addKeyCommands },
  { names: ['sources'], load: async () => (await import('./sources.ts')).addSourceCommands },
  { names: ['events'], load: async () => (await import('./events.ts')).addEventCommands },
  { names: ['payments'], load: async () => (await import('./payments.ts')).addPaymentCommands },
  { names: ['wallets'], load: async () => (await import('./wallets.ts')).addWalletCommands },
  {
    names: ['reconcile', 'reconciliations'],
    load: async () => (await import('./reconcile.ts')).addReconcileCommands,
  },
  { names: ['webhooks'], load: async () => (await import('./webhooks.ts')).addWebhookCommands },
  { names: ['jobs'], load: async () => (await import('./jobs.ts')).addJobCommands },
  { names: ['audit'], load: async () => (await import('./audit.ts')).addAuditCommand },
];

/**
 * The command line, not yet run: the group of commands that is asked for, or all of them for the help and for what is
 * none of them. Some groups bring providers' SDKs, which take longer to load than all the rest.
 */
async function buildProgram(asked: string | undefined): Promise<Command> {
  const program = new Command('chokin')
    .description('Merchants, keys, payment providers, events and wallets of a Chokin')
    .addHelpText('after', HELP_FOOTER)
    .exitOverride()
    .showHelpAfterError();
  const meant = GROUPS.filter(({ names }) => asked !== undefined && names.includes(asked));
  for (const { load } of meant.length === 0 ? GROUPS : meant) (await load())(program);
  return program;
}

/** Runs what the arguments ask for. Exit codes: 0, 1 for a failure, 2 for wrong usage. */
async function main(): Promise<void> {
  allowClosedPipes();
  try {
    const program = await buildProgram(process.argv[2]);
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      // It has said already what was wrong, or shown the help it was asked for.
      process.exitCode = error.exitCode === 0 ? 0 : WRONG_USAGE;
    } else {
      printError(explain(error));
      process.exitCode = 1;
    }
  }
}

await main();
// A request to a provider that hangs would keep the process, although nobody waits for its answer any more.
process.stdout.write('', () => process.exit());
