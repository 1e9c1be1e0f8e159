import { formatMinor } from '../money.ts';
import { formatTable } from '../views/table.ts';
import type { AuditReport } from './checks.ts';

/** The report as JSON, named as everything else that is shown. */
export function auditResponse({ balances, trialBalance, read, disagreements, judgedByFacts }: AuditReport) {
  return {
    balances: balances.map(({ merchantId, ...rest }) => ({ business_id: merchantId, ...rest })),
    trial_balance: trialBalance?.map(({ merchantId, ...rest }) => ({ business_id: merchantId, ...rest })) ?? null,
    entries_read: read.entries,
    disagreements,
    judged_by_facts: judgedByFacts,
  };
}

/** The report for people, as text: balances, trial balance and disagreements. */
export function renderAudit({ balances, trialBalance, read, disagreements, judgedByFacts }: AuditReport): string {
  const held = balances.map((row) => [
    row.merchantId,
    row.currency,
    row.wallets,
    row.entries,
    formatMinor(row.balance, row.currency),
  ]);
  const given = (trialBalance ?? []).map((row) => [
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
    ...(trialBalance === null
      ? [
          `${read.entries} entries are new since the last proof, and were proved. All of them, with the trial balance: --full`,
        ]
      : [
          'Trial balance (sums to zero by merchant and currency)',
          formatTable(
            ['merchant', 'currency', 'account', 'gave', 'took back', 'net'],
            [...given, ...wallets].sort((a, b) => `${a[0]} ${a[1]}`.localeCompare(`${b[0]} ${b[1]}`)),
          ),
        ]),
    '',
  ];
  if (judgedByFacts > 0)
    parts.push(
      `${judgedByFacts} payments have events whose bodies are gone: they were judged by the facts that are kept, and are not provable from bodies.`,
      '',
    );
  if (disagreements.length === 0) return [...parts, 'The books agree.'].join('\n');
  const wrong = formatTable(
    ['rule', 'where', 'what'],
    disagreements.map((one) => [one.rule, one.subject, one.detail]),
  );
  return [...parts, `${disagreements.length} disagreements`, wrong].join('\n');
}
