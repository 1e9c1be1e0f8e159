import { type CustomerLink, type LinkKey, setLink } from '../customers/links.ts';
import { requireCustomer } from '../customers/store.ts';
import type { Queryable } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import type { Sources } from './sources.ts';

/**
 * Links a customer with a provider's because a person says so, who is obeyed from now on.
 * @throws {RefusalError} CUSTOMER_NOT_FOUND, NO_SUCH_SOURCE
 */
export async function linkCustomer(
  { db, sources, now }: { readonly db: Queryable; readonly sources: Sources; readonly now: Date },
  link: LinkKey & Pick<CustomerLink, 'customerId'>,
): Promise<CustomerLink> {
  const { merchantId, sourceId, customerId } = link;
  await requireCustomer(db, merchantId, customerId);
  if ((await sources.find(db, merchantId, sourceId)) === null) refuse({ code: 'NO_SUCH_SOURCE' });
  return setLink(db, link, now);
}
