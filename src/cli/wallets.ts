import type { Command } from 'commander';
import { refuseUnknownCustomer, requireCustomer } from '../customers/store.ts';
import { refuse } from '../errors.ts';
import { listEntries } from '../ledger/history.ts';
import { formatMinor } from '../money.ts';
import { entryResponse } from '../views/entry.ts';
import { currency, text } from '../views/fields.ts';
import { walletListResponse, walletLots, walletResponse } from '../views/wallet.ts';
import { addMerchantCommand, takes } from './command.ts';
import { alignRight, table, time } from './output.ts';
import { limitOption, moreAfter } from './paging.ts';
import { addPostingCommands } from './postings.ts';
import { settledWallets } from './settled.ts';
import { count } from './values.ts';
import { addStatusCommands } from './wallet-status.ts';
import { walletTable, withNextExpiry } from './wallet-table.ts';

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
    async run(input, context, { merchantId }) {
      const { db, config } = context;
      const key = { merchantId, customerId: input.customerId };
      const wallets = await withNextExpiry(db, await settledWallets(context, key));
      if (wallets.length === 0) refuseUnknownCustomer(input.customerId);
      const list = {
        ...walletListResponse(wallets, config.FX_RATES_USD),
        items: wallets.map((one) => ({ ...walletResponse(one), ...walletLots(one, one.next) })),
      };
      const shown = walletTable(wallets);
      if (input.entries === undefined) return { json: list, text: shown };
      const page = { ...EVERYTHING, pageSize: input.entries, pageNumber: 0 };
      const entries = (await listEntries(db, key, page)).map(entryResponse);
      return { json: { ...list, entries }, text: `${shown}\n\n${entryTable(entries)}` };
    },
  });

  addEntriesCommand(group);

  addPostingCommands(group);

  addStatusCommands(group);
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
    async run(input, context, { merchantId }) {
      const { db, config } = context;
      const page = { currency: input.currency, beforeSeq: input.before ?? null, pageSize: input.limit, pageNumber: 0 };
      const key = { merchantId, customerId: input.customerId };
      const wallets = await settledWallets(context, key);
      const entries = (await listEntries(db, key, { ...EVERYTHING, ...page })).map(entryResponse);
      if (entries.length === 0) {
        await requireCustomer(db, merchantId, input.customerId);
        const supported = config.WALLET_CURRENCIES;
        const isKnown = [...supported, ...wallets.map((one) => one.currency)].includes(input.currency);
        if (!isKnown) refuse({ code: 'UNSUPPORTED_CURRENCY', currency: input.currency, supported });
      }
      // By the number of the last one shown, so that entries written meanwhile shift nothing.
      const more = moreAfter(entries.length, input.limit, `--before ${entries.at(-1)?.seq}`);
      return { json: { items: entries }, text: `${entryTable(entries)}${more}` };
    },
  });
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
