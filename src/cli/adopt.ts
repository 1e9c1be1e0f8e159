import type { Command } from 'commander';
import { adoptSource, planAdoption } from '../reconciliation/adopt.ts';
import { adoptionResponse } from '../views/adoption.ts';
import { addMerchantCommand, flag, takes } from './command.ts';
import { properties } from './output.ts';
import { id } from './values.ts';

/** One source takes over from another. */
export function addAdoptSourceCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'adopt',
    summary: 'Give the payments of a source to the one that replaces it',
    details:
      'Moves its payments, links, events and accounts, so that refunds of old payments that come in by the new source find them. The old one may be gone from the environment. What it still receives is handled as of the new one. All is moved in one transaction, or nothing; meanwhile the events of both wait. It may be run again.',
    takes: {
      from: takes('<old>', 'the source that is replaced, such as src_stripe', id),
      into: takes('--into <source-id>', 'the source that takes its place', id),
      isDryRun: flag('--dry-run', 'only show what would be moved'),
    },
    async run({ from, into, isDryRun }, context, { merchantId }) {
      const pair = { merchantId, from, into };
      const { clock, sources, settings } = context;
      const adoption = isDryRun
        ? await planAdoption(context, pair)
        : await adoptSource({ pool: context.scanPool(), clock, sources, settings, boss: await context.boss() }, pair);
      const json = adoptionResponse(adoption, isDryRun ? 'planned' : 'done');
      const facts = properties({
        from,
        into,
        payments: String(json.payments),
        links: String(json.links),
        events: String(json.events),
        accounts: json.accounts.join(', ') || null,
      });
      return { json, text: `${facts}\n\n${isDryRun ? 'Nothing was changed.' : 'Moved.'}` };
    },
  });
}
