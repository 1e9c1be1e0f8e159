import type { Command } from 'commander';
import { type CustomerLink, linksOfCustomer, removeLink } from '../customers/links.ts';
import { requireCustomer } from '../customers/store.ts';
import { linkCustomer } from '../merchants/customer-links.ts';
import { text } from '../views/fields.ts';
import { linkResponse } from '../views/link.ts';
import { addMerchantCommand, takes } from './command.ts';
import { table, time } from './output.ts';
import { moreAfter, pageOptions, toPage } from './paging.ts';
import { id } from './values.ts';

const customerId = takes('<customer-id>', 'cus_…', text(300, 1));
const providerCustomerId = takes('<provider-customer-id>', "the provider's id of the customer", text(255, 1));
const source = takes('--source <id>', 'src_…, by which the customer is known so', id);

/** Whom payments belong to that name nobody. */
export function addLinkCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: "List which of the providers' customers a customer is",
    takes: { customerId, ...pageOptions },
    async run({ customerId: whose, limit, page }, { db }, { merchantId }) {
      const found = await linksOfCustomer(db, { merchantId, customerId: whose, ...toPage({ limit, page }) });
      if (found.length === 0) await requireCustomer(db, merchantId, whose);
      return {
        json: { items: found.map(linkResponse) },
        text: `${linkTable(found)}${moreAfter(found.length, limit, `--page ${page + 1}`)}`,
      };
    },
  });

  addMerchantCommand(group, {
    name: 'set',
    summary: "Say that one of a provider's customers is this customer",
    details: 'Also where another one was linked so. It holds for payments from now on, until a person changes it.',
    takes: { customerId, providerCustomerId, source },
    async run(input, { db, sources, clock }, { merchantId }) {
      const link = { ...namedBy(input), merchantId };
      const made = await linkCustomer({ db, sources, now: clock.now() }, link);
      return { json: linkResponse(made), text: linkTable([made]) };
    },
  });

  addMerchantCommand(group, {
    name: 'remove',
    summary: "Say that one of a provider's customers is not this customer",
    takes: { customerId, providerCustomerId, source },
    async run(input, { db }, { merchantId }) {
      await requireCustomer(db, merchantId, input.customerId);
      await removeLink(db, { ...namedBy(input), merchantId });
      return { json: { removed: true }, text: 'The link is gone.' };
    },
  });
}

interface Named {
  readonly customerId: string;
  readonly providerCustomerId: string;
  readonly source: string;
}

function namedBy({ customerId: whose, providerCustomerId: theirs, source: sourceId }: Named) {
  return { customerId: whose, providerCustomerId: theirs, sourceId };
}

function linkTable(links: readonly CustomerLink[]): string {
  return table(
    ["provider's customer", 'source', 'cause', 'payment', 'since'],
    links.map((one) => [
      one.providerCustomerId,
      one.sourceId,
      one.cause,
      one.paymentId,
      time(one.createdAt.toISOString()),
    ]),
    'No links.',
  );
}
