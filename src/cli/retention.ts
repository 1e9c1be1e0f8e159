import type { Command } from 'commander';
import { MOST_PER_RUN, type Retained, retain } from '../retention/retain.ts';
import { type RetentionRule, retentionRule } from '../retention/rule.ts';
import { text } from '../views/fields.ts';
import { addCommand, flag, takes } from './command.ts';
import { properties, table } from './output.ts';

/** What is forgotten with time: the same as the worker does on its schedule. */
export function addRetentionCommand(program: Command): void {
  addCommand(program, {
    name: 'retention',
    summary: 'Forget what is older than the RETENTION_… settings say, or show what would be forgotten',
    details: `A worker does it by itself (RETENTION_CRON). A run forgets ${MOST_PER_RUN} things of one kind and merchant at most; entries of the ledger are always kept.`,
    takes: {
      isDryRun: flag('--dry-run', 'count what would be forgotten, and forget nothing'),
      merchantId: takes('--merchant <id>', 'only of this merchant (default: of all)', text(64, 1).optional()),
    },
    async run({ isDryRun, merchantId }, context) {
      const { pool, clock, logger, config } = context;
      const owner = merchantId === undefined ? null : (await context.merchant(merchantId)).merchantId;
      const rule = retentionRule(config);
      const items = await retain({ pool, clock, logger, rule }, { merchantId: owner, isDryRun });
      const json = { dry_run: isDryRun, keeps_days: keepsDays(rule), items: items.map(retainedResponse) };
      return { json, text: `${properties(keptFor(rule))}\n\n${retainedTable(items, isDryRun)}` };
    },
  });
}

/** In days; null: for ever. */
function keepsDays(rule: RetentionRule) {
  const days = (count: number) => (count === 0 ? null : count);
  return {
    event_bodies: days(rule.eventBodies),
    ignored_events: days(rule.ignoredEvents),
    messages: days(rule.messages),
    history: days(rule.history),
  };
}

function keptFor(rule: RetentionRule) {
  const keeps = keepsDays(rule);
  const days = (count: number | null) => (count === null ? 'kept for ever' : `kept ${count} days`);
  return {
    'bodies of applied events': days(keeps.event_bodies),
    'ignored events': days(keeps.ignored_events),
    'messages and attempts': days(keeps.messages),
    'comparisons, audits, alerts': days(keeps.history),
  };
}

function retainedResponse({ merchantId, what, count, kept, isDone }: Retained) {
  return { business_id: merchantId, what, count, kept, is_done: isDone };
}

function retainedTable(items: readonly Retained[], isDryRun: boolean): string {
  const rows = items
    .filter(({ count, kept }) => count + kept > 0)
    .map(({ merchantId, what, count, kept, isDone }) => [
      merchantId ?? 'all',
      what.replaceAll('_', ' '),
      isDone ? count : `${count} or more`,
      kept,
    ]);
  const title = isDryRun ? 'would be forgotten' : 'forgotten';
  return table(['merchant', 'what', title, 'kept, since open'], rows, 'There is nothing to forget.');
}
