import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { z } from 'zod';
import { refuseUnknownCustomer, requireCustomer } from '../customers/store.ts';
import { type Refusal, refuse } from '../errors.ts';
import { availableOf, type Entry, type Wallet } from '../ledger/entry.ts';
import { listEntries } from '../ledger/history.ts';
import { readWallets } from '../ledger/store.ts';
import { formatMinor } from '../money.ts';
import { entryResponse } from '../views/entry.ts';
import { currency, text } from '../views/fields.ts';
import { toPosting } from '../views/posting.ts';
import { walletListResponse } from '../views/wallet.ts';
import { addMerchantCommand, type Result, takes } from './command.ts';
import { giveUp } from './give-up.ts';
import { alignRight, note, properties, table, time } from './output.ts';
import { limitOption, moreAfter } from './paging.ts';
import { count, parseAmount } from './values.ts';

const customerId = takes('<customer-id>', 'cus_…', text(300, 1));
const EVERYTHING = {
  currency: null,
  eventType: null,
  createdFrom: null,
  createdTo: null,
  afterSeq: null,
  beforeSeq: null,
};

/** Balances, and corrections by hand through the ledger's one door. */
export function addWalletCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'show',
    summary: "Show a customer's wallets",
    takes: {
      customerId,
      entries: takes('--entries <count>', 'the last so many entries as well', count(1, 1000).optional()),
    },
    async run(input, { db, config }, { merchantId }) {
      const wallets = await readWallets(db, merchantId, [input.customerId]);
      if (wallets.length === 0) refuseUnknownCustomer(input.customerId);
      const list = walletListResponse(wallets, config.FX_RATES_USD);
      const held = walletTable(wallets);
      if (input.entries === undefined) return { json: list, text: held };
      const page = { ...EVERYTHING, pageSize: input.entries, pageNumber: 0 };
      const entries = (await listEntries(db, { merchantId, customerId: input.customerId }, page)).map(entryResponse);
      return { json: { ...list, entries }, text: `${held}\n\n${entryTable(entries)}` };
    },
  });

  addEntriesCommand(group);

  for (const direction of ['credit', 'debit'] as const) {
    addMerchantCommand(group, {
      name: direction,
      summary: direction === 'credit' ? 'Put money into a wallet' : 'Take money out of a wallet, as far as it goes',
      details: 'The same command under the same key changes the wallet once, however often it runs.',
      takes: {
        customerId,
        amount: takes('<amount>', 'in the unit people write, such as 12.50', z.string()),
        currency: takes('<currency>', 'such as USD', currency),
        reason: takes('--reason <text>', 'why; it stands on the entry', text(1000, 1)),
        key: takes('--key <text>', 'the idempotency key (default: a new one, which is shown)', text(255, 1).optional()),
      },
      async run({ key: chosenKey, ...input }, context, { merchantId }) {
        const amount = parseAmount(input.amount, input.currency);
        const key = chosenKey ?? `cli_${randomUUID()}`;
        const { currency: wanted, reason } = input;
        const body = { amount, currency: wanted, entry_type: direction, reason, idempotency_key: key };
        const ledger = await context.ledger();
        // Printed before the request: if its outcome is lost, the key is needed to repeat it safely.
        if (chosenKey === undefined) note(`Idempotency key: ${key} (if no outcome is shown, repeat with --key)`);
        const outcome = await ledger.post(toPosting(merchantId, input.customerId, body));
        if (outcome.kind === 'refused') {
          const { refusal } = outcome;
          if (refusal.code !== 'INSUFFICIENT_WALLET_FUNDS') return refuse(refusal);
          const wallets = await readWallets(context.db, merchantId, [input.customerId]);
          return giveUp(shortage(refusal, wallets.find((one) => one.currency === wanted)?.held ?? 0));
        }
        if (outcome.kind === 'repeated') note('This was done before under the same key, and is not done again.');
        return posted(outcome.entry);
      },
    });
  }
}

function addEntriesCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'entries',
    summary: 'List the entries of a wallet, newest first',
    takes: {
      customerId,
      currency: takes('<currency>', 'such as USD', currency),
      limit: limitOption,
      before: takes('--before <entry>', 'only entries before this number', count(1, 999_999_999).optional()),
    },
    async run(input, { db, config }, { merchantId }) {
      const page = { currency: input.currency, beforeSeq: input.before ?? null, pageSize: input.limit, pageNumber: 0 };
      const key = { merchantId, customerId: input.customerId };
      const entries = (await listEntries(db, key, { ...EVERYTHING, ...page })).map(entryResponse);
      if (entries.length === 0) {
        await requireCustomer(db, merchantId, input.customerId);
        const supported = config.WALLET_CURRENCIES;
        const wallets = await readWallets(db, merchantId, [input.customerId]);
        const isKnown = [...supported, ...wallets.map((one) => one.currency)].includes(input.currency);
        if (!isKnown) refuse({ code: 'UNSUPPORTED_CURRENCY', currency: input.currency, supported });
      }
      // By the number of the last one shown, so that entries written meanwhile shift nothing.
      const more = moreAfter(entries.length, input.limit, `--before ${entries.at(-1)?.seq}`);
      return { json: { items: entries }, text: `${entryTable(entries)}${more}` };
    },
  });
}

/** Wallets as a table for the terminal; amounts are in the currency's major unit. What is held is shown where something is. */
export function walletTable(wallets: readonly Wallet[]): string {
  const amounts = (amountOf: (one: Wallet) => number) =>
    alignRight(wallets.map((one) => formatMinor(amountOf(one), one.currency)));
  const columns = new Map([['balance', amounts((one) => one.balance)]]);
  if (wallets.some(({ openHolds }) => openHolds > 0)) {
    columns.set(
      'held',
      amounts((one) => one.held),
    );
    columns.set('available', amounts(availableOf));
  }
  return table(
    [...columns.keys(), 'entries', 'changed'],
    wallets.map((one, row) => [
      ...[...columns.values()].map((column) => column[row] ?? ''),
      one.version,
      time(one.updatedAt.toISOString()),
    ]),
    'No wallets.',
  );
}

type EntryResponse = ReturnType<typeof entryResponse>;

/** Entries as a table for the terminal; amounts are in the currency's major unit. */
export function entryTable(entries: readonly EntryResponse[]): string {
  const signed = (one: EntryResponse) => `${one.is_credit ? '+' : '-'}${formatMinor(one.amount, one.currency)}`;
  const changes = alignRight(entries.map(signed));
  const balances = alignRight(entries.map((one) => formatMinor(one.after_balance, one.currency)));
  return table(
    ['entry', 'written', 'change', 'balance', 'type', 'reason'],
    entries.map((one, row) => [
      one.seq,
      time(one.created_at),
      changes[row] ?? '',
      balances[row] ?? '',
      one.event_type,
      one.reason,
    ]),
    'No entries.',
  );
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
