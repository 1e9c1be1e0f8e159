import type { Command } from 'commander';
import { z } from 'zod';
import { judgeWallet } from '../ledger/chain-check.ts';
import { currency, text } from '../views/fields.ts';
import { addMerchantCommand, takes } from './command.ts';
import { properties } from './output.ts';

const head = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/, 'wants the 64 hexadecimal digits of a head, as a message or GET …/wallets told it')
  .transform((written) => written.toLowerCase());

/** Proves that a wallet's history is the one that a head was told of. */
export function addVerifyCommand(program: Command): void {
  addMerchantCommand(program, {
    name: 'verify',
    summary: 'Prove that a wallet still has the history that a head stands for',
    details:
      'Computes every hash of the wallet anew and looks for the one that a merchant kept. Exits with 1 if it is not there, or if an entry was changed.',
    takes: {
      customerId: takes('<customer-id>', 'cus_…', text(300, 1)),
      currency: takes('<currency>', 'such as USD', currency),
      head: takes('--head <hash>', 'as wallet.balance.changed or GET …/wallets told it', head),
    },
    async run(input, { db }, { merchantId }) {
      const { customerId } = input;
      const found = { headOfEntry: null as number | null, changed: null as number | null, entries: 0, anchors: 0 };
      for await (const { entry, finding } of judgeWallet(db, { merchantId, customerId, currency: input.currency })) {
        found.entries = entry.seq;
        if (finding === 'wrong') found.changed ??= entry.seq;
        if (finding === 'anchored') found.anchors += 1;
        if (finding !== 'wrong' && entry.hash === input.head) found.headOfEntry = entry.seq;
      }
      const json = {
        proven: found.headOfEntry !== null && found.changed === null,
        head_of_entry: found.headOfEntry,
        changed_entry: found.changed,
        entries: found.entries,
        anchors: found.anchors,
      };
      return { json, text: properties(describe(json)), isFailure: !json.proven };
    },
  });
}

function describe(result: {
  readonly proven: boolean;
  readonly head_of_entry: number | null;
  readonly changed_entry: number | null;
  readonly entries: number;
  readonly anchors: number;
}): Record<string, string> {
  const changed = result.changed_entry === null ? 'none changed' : `changed from entry ${result.changed_entry} on`;
  return {
    proven: result.proven ? 'yes' : 'NO',
    head: result.head_of_entry === null ? 'of no entry of this wallet' : `of entry ${result.head_of_entry}`,
    entries: `${result.entries}, ${changed}`,
    begins:
      result.anchors === 0 ? 'with the first entry' : `after entries of an older release (${result.anchors} anchors)`,
  };
}
