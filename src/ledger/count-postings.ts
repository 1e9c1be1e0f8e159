import type { PostingCount } from '../telemetry/metrics.ts';
import { MAX_OPEN_LOTS } from './lots/lot.ts';
import type { CommandResult, LedgerCommand } from './post.ts';

/** Counts a batch's outcomes for metrics: a handful of counts, however large the batch. Captures and voids are debits; so is what a checkout takes at once; holds are none. */
export function countPostings(
  commands: readonly LedgerCommand[],
  outcomes: readonly CommandResult[],
): readonly PostingCount[] {
  const counts: { -readonly [Name in keyof PostingCount]: PostingCount[Name] }[] = [];
  for (const [index, result] of outcomes.entries()) {
    const command = commands[index];
    const outcome = outcomeOf(result);
    if (command === undefined || outcome === null || !isEntry(command, result)) continue;
    const direction = !('op' in command) && command.isCredit ? 'credit' : 'debit';
    const code = result.kind === 'refused' ? result.refusal.code : '';
    const same = counts.find((one) => one.direction === direction && one.outcome === outcome && one.code === code);
    const beyondLots = isBeyondLots(command, result) ? 1 : 0;
    if (same === undefined) counts.push({ direction, outcome, code, count: 1, beyondLots });
    else {
      same.count += 1;
      same.beyondLots += beyondLots;
    }
  }
  return counts;
}

function isEntry(command: LedgerCommand, { kind }: CommandResult): boolean {
  return !('op' in command) || kind === 'checkout_opened' || command.op === 'capture' || command.op === 'void_lot';
}

/** Whether a payment's credit left its wallet with more open lots than the API would have given it. */
function isBeyondLots(command: LedgerCommand, result: CommandResult): boolean {
  if (result.kind !== 'created' || 'op' in command || command.terms === undefined) return false;
  return result.wallet.openLots > MAX_OPEN_LOTS;
}

/** Null where no entry was asked for, or none was to write. */
function outcomeOf(result: CommandResult): PostingCount['outcome'] | null {
  if (result.kind === 'voided') return 'created';
  if (result.kind === 'captured' || result.kind === 'checkout_opened') return result.entry === null ? null : 'created';
  return result.kind === 'created' || result.kind === 'repeated' || result.kind === 'refused' ? result.kind : null;
}
