import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, hex, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, omit, pick, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';

/** What a provider calls several things by that it tells of apart, such as an invoice. */
export interface PaymentGroup extends GroupKey {
  readonly paymentIds: readonly string[];
  /** Whom the merchant's own subscription names; null if nobody yet. */
  readonly customerId: string | null;
  /** The hash of the token that stands on that subscription; null if none was told. */
  readonly tokenHash: string | null;
  /** That subscription, if a token stands on it. */
  readonly seriesId: string | null;
}

export interface GroupKey {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly groupId: string;
}

const GROUP = table('payment_group', {
  merchantId: text,
  sourceId: text,
  groupId: text,
  paymentIds: array(text),
  customerId: nullable(text),
  tokenHash: nullable(hex),
  seriesId: nullable(text),
});
const NAMES = pick(GROUP.shape, 'customerId', 'tokenHash', 'seriesId');
const OWN_KEY = omit(pick(GROUP.shape, 'merchantId', 'sourceId', 'groupId'), 'merchantId');

/**
 * How many payments of one group are known: no invoice is paid in so many. Only a reference that many payments share has more;
 * each of the others takes a name that its group has when the payment is told, and no news of the group becomes news of it.
 */
export const MAX_GROUP_PAYMENTS = 100;

/**
 * Locks groups in one order, making those that are not there, and adds payments to them, {@link MAX_GROUP_PAYMENTS} at the most.
 * To be done before any payment is locked, so that two batches cannot deadlock.
 * @param members a group may be given several times, and without a payment
 */
export async function lockGroups(
  tx: Tx,
  members: readonly (GroupKey & { readonly paymentId: string | null })[],
  now: Date,
): Promise<readonly PaymentGroup[]> {
  return ofEachMerchant(members, async (merchantId, own) => {
    await JOIN_GROUPS.run(tx, { merchantId, members: own, now });
    return READ_GROUPS.all(tx, { merchantId, members: own });
  });
}

const MEMBERS = rowsOf({ ...OWN_KEY, paymentId: nullable(text) });

/**
 * A group that has nobody new is locked and not written: the condition of the update is read after the lock. The most that it may hold is no
 * parameter: to Citus' nodes, what follows "on conflict" comes without the types of parameters.
 */
const JOIN_GROUPS = statement({
  name: 'join-payment-groups',
  params: { merchantId: text, members: MEMBERS, now: timestamptz },
  text: ({ merchantId, members, now }) => `
    insert into payment_group as g (merchant_id, source_id, group_id, payment_ids, created_at)
    select ${merchantId}, source_id, group_id,
      coalesce((array_agg(distinct payment_id) filter (where payment_id is not null))[1:${MAX_GROUP_PAYMENTS}], '{}'), ${now}
    from ${members('m')} group by source_id, group_id order by source_id, group_id
    on conflict (merchant_id, source_id, group_id) do update
    set payment_ids = array(
      select unnest(g.payment_ids || (array(
        select unnest(excluded.payment_ids) except select unnest(g.payment_ids) order by 1
      ))[1:${MAX_GROUP_PAYMENTS} - cardinality(g.payment_ids)]) as id order by id)
    where cardinality(g.payment_ids) < ${MAX_GROUP_PAYMENTS} and not g.payment_ids @> excluded.payment_ids`,
});

const READ_GROUPS = statement({
  name: 'read-payment-groups',
  params: { merchantId: text, members: MEMBERS },
  row: GROUP.shape,
  text: ({ merchantId, members }) => `
    select ${columns(GROUP.shape, 'g')}
    from (select distinct source_id, group_id from ${members('m')}) m
    cross join lateral (
      select * from payment_group g
      where g.merchant_id = ${merchantId} and g.source_id = m.source_id and g.group_id = m.group_id offset 0) g`,
});

/** These groups, without a lock; those that are not known are left out. */
export function readGroups(db: Queryable, keys: readonly GroupKey[]): Promise<readonly PaymentGroup[]> {
  return ofEachMerchant(keys, (merchantId, own) =>
    READ_GROUPS.all(db, { merchantId, members: own.map((key) => ({ ...key, paymentId: null })) }),
  );
}

/** Notes whom groups name, and by which token. They must be locked. */
export async function nameGroups(tx: Tx, named: readonly Omit<PaymentGroup, 'paymentIds'>[]): Promise<void> {
  for (const one of named) await NAME_GROUP.run(tx, one);
}

const NAME_GROUP = statement({
  params: { merchantId: text, sourceId: text, groupId: text, ...NAMES },
  text: ({ merchantId, sourceId, groupId, customerId, tokenHash, seriesId }) => `
    update payment_group set customer_id = ${customerId}, token_hash = ${tokenHash}, series_id = ${seriesId}
    where merchant_id = ${merchantId} and source_id = ${sourceId} and group_id = ${groupId}`,
});
