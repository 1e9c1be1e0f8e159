import type { Command } from 'commander';
import { auditResponse, renderAudit } from '../audit/report.ts';
import { runAudit } from '../audit/run.ts';
import { ledgerSettings } from '../config/ledger-settings.ts';
import { opened } from '../db/pool.ts';
import { addCommand, flag } from './command.ts';
import { printable } from './output.ts';

/** The proof of the books, the same as `npm run audit`; it counts as the last audit, so that an alarm ends with its cause. */
export function addAuditCommand(program: Command): void {
  addCommand(program, {
    name: 'audit',
    summary: 'Prove the books',
    details:
      'Recomputes every balance from its entries, going on from where each wallet was proved since Sunday, and exits with 1 if anything disagrees. The metrics show the result.',
    takes: { isFull: flag('--full', 'read every entry, also what was proved since Sunday') },
    async run({ isFull }, context) {
      const report = await runAudit({
        pool: await opened(context.scanPool()),
        clock: context.clock,
        logger: context.logger,
        rule: ledgerSettings(context.config).rule,
        isFull,
      });
      const disagreements = report.disagreements.map(({ rule, subject, detail }) => ({
        rule,
        subject: printable(subject),
        detail: printable(detail),
      }));
      const isFailure = disagreements.length > 0;
      return { json: auditResponse(report), text: renderAudit({ ...report, disagreements }), isFailure };
    },
  });
}
