import { bigint, text, timestamptz } from '../../db/codec.ts';
import { merchantsDue } from '../../db/merchant-walk.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { Checkout, CheckoutKey } from './checkout.ts';
import { CHECKOUT, OWN_CHECKOUT_KEY } from './tables.ts';

/** The work list of open checkouts: which have come to their end. */

export type DueCheckout = Omit<CheckoutKey, 'merchantId'>;

export const merchantsWithDueCheckouts = merchantsDue({ table: 'checkout_due', column: 'due_at' });

/** The first of a merchant that are due, without locks. */
export async function dueCheckouts(
  db: Queryable,
  merchantId: string,
  { now, limit }: { readonly now: Date; readonly limit: number },
): Promise<readonly DueCheckout[]> {
  return DUE.all(db, { merchantId, now, limit });
}

const DUE = statement({
  params: { merchantId: text, now: timestamptz, limit: bigint },
  row: OWN_CHECKOUT_KEY,
  text: ({ merchantId, now, limit }) => `
    select ${columns(OWN_CHECKOUT_KEY)} from checkout_due
    where merchant_id = ${merchantId} and due_at <= ${now}
    order by due_at
    limit ${limit}`,
});

/** Locks those that are still due, in one order for everybody; what somebody else has locked is left out. */
export async function lockDueCheckouts(
  tx: Tx,
  merchantId: string,
  { keys, now }: { readonly keys: readonly DueCheckout[]; readonly now: Date },
): Promise<readonly Checkout[]> {
  return LOCK_DUE.all(tx, { merchantId, keys, now });
}

/** By its own columns, which a lock reads anew: one that was prolonged meanwhile is not due. */
const LOCK_DUE = statement({
  params: { merchantId: text, keys: rowsOf(OWN_CHECKOUT_KEY), now: timestamptz },
  row: CHECKOUT.shape,
  text: ({ merchantId, keys, now }) => `
    select ${columns(CHECKOUT.shape, 'c')}
    from checkout c join ${keys('k', { merchantId })} using (merchant_id, customer_id, checkout_id)
    where c.state = 'open' and coalesce(c.prolonged_until, c.expires_at) <= ${now}
    order by c.merchant_id, c.checkout_id
    for update of c skip locked`,
});

/** Has those that are still due looked at later. */
export async function putOffCheckouts(
  db: Queryable,
  merchantId: string,
  { keys, now, until }: { readonly keys: readonly DueCheckout[]; readonly now: Date; readonly until: Date },
): Promise<void> {
  await PUT_OFF.run(db, { merchantId, keys, now, until });
}

const PUT_OFF = statement({
  params: { merchantId: text, keys: rowsOf(OWN_CHECKOUT_KEY), now: timestamptz, until: timestamptz },
  text: ({ merchantId, keys, now, until }) => `
    update checkout_due d set due_at = ${until}
    from ${keys('k', { merchantId })}
    where d.merchant_id = k.merchant_id and d.customer_id = k.customer_id and d.checkout_id = k.checkout_id
      and d.due_at <= ${now}`,
});
