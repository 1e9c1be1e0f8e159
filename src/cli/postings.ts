import type { Command } from 'commander';
import { z } from 'zod';
import { type Refusal, refuse } from '../errors.ts';
import type { Entry } from '../ledger/entry.ts';
import { readWallets } from '../ledger/store.ts';
import { formatMinor } from '../money.ts';
import { entryResponse } from '../views/entry.ts';
import { currency, text } from '../views/fields.ts';
import { lotKind } from '../views/lot.ts';
import { type PostingRequest, toPosting } from '../views/posting.ts';
import { addMerchantCommand, type Result, takes } from './command.ts';
import type { CliContext } from './context.ts';
import { giveUp } from './give-up.ts';
import { keyOption, keyOr, noteRepeated } from './keyed.ts';
import { properties, time } from './output.ts';
import { count, lotEnd, parseAmount } from './values.ts';

const posting = {
  customerId: takes('<customer-id>', 'cus_…', text(300, 1)),
  amount: takes('<amount>', 'in the unit people write, such as 12.50', z.string()),
  currency: takes('<currency>', 'such as USD', currency),
  reason: takes('--reason <text>', 'why; it stands on the entry', text(1000, 1)),
  key: keyOption,
};

const terms = {
  kind: takes('--kind <kind>', `${lotKind.options.join(', ')} (default: adjustment)`, lotKind.optional()),
  expires: takes('--expires <when>', 'when what is left of it ends: a time, or days such as 30d', lotEnd.optional()),
  priority: takes(
    '--priority <number>',
    '0 to 100, lower ones are spent first (default: 50)',
    count(0, 100).optional(),
  ),
  name: takes('--name <text>', 'what you call it, such as Welcome', text(100, 1).optional()),
};

const ONCE = 'The same command under the same key changes the wallet once, however often it runs.';

/** Corrections by hand, and credit that ends, through the ledger's one door. */
export function addPostingCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'credit',
    summary: 'Put money into a wallet',
    details: `${ONCE} With --kind promo, --expires or --priority it is a lot: "chokin lots" shows what becomes of it.`,
    takes: { ...posting, ...terms },
    async run({ customerId, key, expires, ...input }, context, { merchantId }) {
      const body = { ...input, ...expires, amount: parseAmount(input.amount, input.currency) };
      return post(context, { merchantId, customerId, key, body: { ...body, entry_type: 'credit' } });
    },
  });

  addMerchantCommand(group, {
    name: 'debit',
    summary: 'Take money out of a wallet, as far as it goes',
    details: ONCE,
    takes: posting,
    async run({ customerId, key, ...input }, context, { merchantId }) {
      const body = { ...input, amount: parseAmount(input.amount, input.currency) };
      return post(context, { merchantId, customerId, key, body: { ...body, entry_type: 'debit' } });
    },
  });
}

interface Wanted {
  readonly merchantId: string;
  readonly customerId: string;
  readonly key: string | undefined;
  readonly body: PostingRequest;
}

async function post(context: CliContext, { merchantId, customerId, key, body }: Wanted): Promise<Result> {
  const ledger = await context.ledger();
  const wanted = toPosting(merchantId, customerId, { ...body, idempotency_key: keyOr(key) });
  const outcome = await ledger.post(wanted);
  if (outcome.kind === 'refused') {
    const { refusal } = outcome;
    if (refusal.code !== 'INSUFFICIENT_WALLET_FUNDS') return refuse(refusal);
    const wallets = await readWallets(context.db, merchantId, [customerId]);
    return giveUp(shortage(refusal, wallets.find((one) => one.currency === body.currency)?.held ?? 0));
  }
  if (outcome.kind === 'repeated') noteRepeated();
  return posted(outcome.entry);
}

function posted(entry: Entry): Result {
  const json = entryResponse(entry);
  const lines = properties({
    entry: json.id,
    [entry.isCredit ? 'credited' : 'debited']: formatMinor(json.amount, json.currency),
    balance: formatMinor(json.after_balance, json.currency),
    reason: json.reason,
    key: json.idempotency_key,
    written: time(json.created_at),
  });
  return { json, text: lines };
}

/** Words a refusal in major units, as amounts are typed here; the API uses minor units. */
function shortage(
  { currency: wanted, available, required }: Refusal<'INSUFFICIENT_WALLET_FUNDS'>,
  held: number,
): string {
  const aside = held === 0 ? '' : ` Open holds set ${formatMinor(held, wanted)} of the balance aside.`;
  return `Insufficient balance: ${formatMinor(available, wanted)} is available, ${formatMinor(required, wanted)} required.${aside}`;
}
