import type { Command } from 'commander';
import { autocommit } from '../db/transaction.ts';
import { audit } from '../ledger/audit.ts';
import { renderAudit } from '../ledger/audit-report.ts';
import { addCommand } from './command.ts';
import { printable } from './output.ts';

/** The proof of the books, the same as `npm run audit`. */
export function addAuditCommand(program: Command): void {
  addCommand(program, {
    name: 'audit',
    summary: 'Prove the books',
    details: 'Recomputes every balance from its entries, and exits with 1 if anything disagrees.',
    takes: {},
    async run(_, context) {
      const report = await audit(autocommit(context.scanPool()));
      const disagreements = report.disagreements.map(({ rule, subject, detail }) => ({
        rule,
        subject: printable(subject),
        detail: printable(detail),
      }));
      const isFailure = disagreements.length > 0;
      return { json: report, text: renderAudit({ ...report, disagreements }), isFailure };
    },
  });
}
