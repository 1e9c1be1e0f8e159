import type { Command } from 'commander';
import { listCustomers } from '../customers/search.ts';
import { type Customer, findByAnyId, getCustomer, refuseUnknownCustomer, requireCustomer } from '../customers/store.ts';
import { readWallets } from '../ledger/store.ts';
import { customerResponse } from '../views/customer.ts';
import { erasureResponse } from '../views/erasure.ts';
import { text } from '../views/fields.ts';
import { walletListResponse } from '../views/wallet.ts';
import { addMerchantCommand, flag, takes, UsageError } from './command.ts';
import { confirm } from './confirm.ts';
import { properties, table, time } from './output.ts';
import { moreAfter, pageOptions, toPage } from './paging.ts';
import { walletTable, withNextExpiry } from './wallet-table.ts';

/** Who has wallets. */
export function addCustomerCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: 'List or search customers, newest first',
    takes: {
      email: takes('--email <address>', 'the whole address, in any case', text(320, 1).optional()),
      name: takes(
        '--name <text>',
        'part of the name, in any case; its beginning, if it has no three letters in a row or without pg_trgm',
        text(500, 1).optional(),
      ),
      id: takes('--id <id>', "cus_…, or the provider's id of the customer", text(300, 1).optional()),
      ...pageOptions,
    },
    async run({ email, name, id, limit, page }, { db }, { merchantId }) {
      if (id !== undefined && (email ?? name) !== undefined) {
        throw new UsageError('--id: names whom you mean, and wants no further filter');
      }
      const query = {
        email: email ?? null,
        name: name ?? null,
        createdFrom: null,
        createdTo: null,
        ...toPage({ limit, page }),
      };
      const found =
        id === undefined ? await listCustomers(db, merchantId, query) : await findByAnyId(db, merchantId, id);
      const footer = id === undefined ? moreAfter(found.length, limit, `--page ${page + 1}`) : '';
      return { json: { items: found.map(customerResponse) }, text: `${customerTable(found)}${footer}` };
    },
  });

  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show a customer and the wallets',
    takes: { customerId: takes('<customer-id>', 'cus_…', text(300, 1)) },
    async run({ customerId }, { db, config }, { merchantId }) {
      const found = (await getCustomer(db, merchantId, customerId)) ?? refuseUnknownCustomer(customerId);
      const wallets = await withNextExpiry(db, await readWallets(db, merchantId, [customerId]));
      const one = customerResponse(found);
      const facts = properties({
        customer: one.customer_id,
        name: one.name === '' ? null : one.name,
        email: one.email === '' ? null : one.email,
        phone: one.phone_number,
        metadata: Object.keys(one.metadata).length === 0 ? null : JSON.stringify(one.metadata),
        created: time(one.created_at),
      });
      const json = { ...one, wallets: walletListResponse(wallets, config.FX_RATES_USD) };
      return { json, text: `${facts}\n\n${walletTable(wallets)}` };
    },
  });

  addAnonymiseCommand(group);
}

/** Erasing what is known of somebody. */
function addAnonymiseCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'anonymise',
    summary: "Erase a customer's personal data, and keep the books",
    details:
      'Name, addresses, metadata, links, bodies of events and messages. Wallets, entries and payments stay. Run again, it erases what has come since; a worker erases what is in dispute once the dispute has ended.',
    takes: {
      customerId: takes('<customer-id>', 'cus_…', text(300, 1)),
      reasons: flag('--reasons', 'the reasons and metadata of entries too'),
      yes: flag('--yes', 'do not ask first'),
    },
    async run({ customerId, reasons, yes }, { db, pool, clock }, { merchantId }) {
      await requireCustomer(db, merchantId, customerId);
      await confirm(`This erases the personal data of ${customerId} for good.`, yes);
      // It reads events, for which it loads every provider and its SDK: no other command of this group does.
      const { anonymiseCustomer } = await import('../retention/anonymise.ts');
      const erasure = await anonymiseCustomer({ pool, clock }, { merchantId, customerId, withTexts: reasons });
      const json = erasureResponse(erasure);
      const facts = properties({
        customer: json.customer_id,
        anonymised: time(json.anonymised_at),
        finished: json.finished_at === null ? null : time(json.finished_at),
        'entries changed': json.entries,
        'events emptied': json.events,
        'messages deleted': json.messages,
        'kept for now': json.kept === 0 ? null : json.kept,
      });
      return { json, text: facts };
    },
  });
}

function customerTable(customers: readonly Customer[]): string {
  return table(
    ['customer', 'name', 'email', 'created'],
    customers.map((one) => [one.customerId, one.name, one.email, time(one.createdAt.toISOString())]),
    'No customers.',
  );
}
