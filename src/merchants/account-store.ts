import { array, bigint, boolean, oneOf, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, matches, omit, pick, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { SourceAccount } from './accounts.ts';
import type { SourceAccountKind, SourceKey } from './source.ts';

/** Which source answers for which account at a provider. */

const ACCOUNT = table('source_account', {
  provider: oneOf<ProviderName>(),
  mode: oneOf<'test' | 'live'>(),
  account: text,
  merchantId: text,
  sourceId: text,
  isShared: boolean,
  createdAt: timestamptz,
});
const NAME = pick(ACCOUNT.shape, 'provider', 'mode', 'account');

/** Every row of these sources, and every row, of whichever merchant, of their accounts and of those that are named. */
export async function selectAccounts(
  db: Queryable,
  sources: readonly SourceAccountKind[],
  named: readonly Pick<SourceAccount, 'provider' | 'mode' | 'account'>[],
): Promise<readonly SourceAccount[]> {
  return SELECT_ACCOUNTS.all(db, { sources, named });
}

const SELECT_ACCOUNTS = statement({
  name: 'select-source-accounts',
  acrossMerchants: 'one account may be of several',
  params: { sources: rowsOf(pick(ACCOUNT.shape, 'merchantId', 'sourceId')), named: rowsOf(NAME) },
  row: ACCOUNT.shape,
  text: ({ sources, named }) => `
    with wanted (provider, mode, account) as (
      select a.provider, a.mode, a.account
      from ${sources('s')}
      join source_account a on a.merchant_id = s.merchant_id and a.source_id = s.source_id
      union
      select provider, mode, account from ${named('n')})
    select ${columns(ACCOUNT.shape, 'a')}
    from wanted w join source_account a on ${matches(NAME, 'a', 'w')}
    order by a.created_at, a.merchant_id, a.source_id`,
});

export interface NewAccount extends SourceAccountKind {
  readonly account: string;
  readonly learntFrom: 'event' | 'api' | 'operator';
  readonly isShared: boolean;
}

/**
 * Notes accounts in a fixed order, so that two batches cannot deadlock. Whoever notes the same account at the same time is
 * waited for.
 * @returns how many were noted; the others are another source's, or were noted before
 */
export async function insertAccounts(tx: Tx, accounts: readonly NewAccount[], now: Date): Promise<number> {
  if (accounts.length === 0) return 0;
  return INSERT_ACCOUNTS.run(tx, { accounts, now });
}

const NEW = { ...omit(ACCOUNT.shape, 'createdAt'), learntFrom: text };

const INSERT_ACCOUNTS = statement({
  acrossMerchants: 'one account may be of several',
  params: { accounts: rowsOf(NEW), now: timestamptz },
  text: ({ accounts, now }) => `
    insert into source_account (${columns(NEW)}, created_at)
    select ${columns(NEW, 'n')}, ${now}
    from ${accounts('n')}
    order by provider, mode, account, merchant_id, source_id
    on conflict do nothing`,
});

/** Which accounts of a source are forgotten: those its API keys told of or all others, but for these. */
interface Forgotten {
  readonly learntFromApi: boolean;
  readonly but: readonly string[];
}

/**
 * Forgets accounts of the source; others may answer for them then. An account that another source of the merchant has as well
 * stays noted as shared, and that other one becomes its owner: payments of an account that nobody knows to be shared would be
 * credited by both.
 */
export async function forgetAccounts(
  tx: Tx,
  { merchantId, sourceId }: SourceKey,
  { learntFromApi, but }: Forgotten,
): Promise<void> {
  const forgotten = { merchantId, sourceId, learntFromApi, but };
  await DELETE_ALONE.run(tx, forgotten);
  if ((await MARK_SHARED.run(tx, forgotten)) > 0) await HAND_OVER.run(tx, { merchantId, sourceId });
}

const FORGOTTEN = { merchantId: text, sourceId: text, learntFromApi: boolean, but: array(text) };
const SAME_ACCOUNT = 'o.provider = a.provider and o.mode = a.mode and o.account = a.account';
const OTHER_SOURCE = `o.merchant_id = a.merchant_id and o.source_id <> a.source_id and ${SAME_ACCOUNT}`;

const DELETE_ALONE = statement({
  params: FORGOTTEN,
  text: ({ merchantId, sourceId, learntFromApi, but }) => `
    delete from source_account a
    where merchant_id = ${merchantId} and source_id = ${sourceId}
      and (learnt_from = 'api') = ${learntFromApi} and account <> all (${but})
      and not exists (select from source_account o where ${OTHER_SOURCE})`,
});

const MARK_SHARED = statement({
  params: FORGOTTEN,
  text: ({ merchantId, sourceId, learntFromApi, but }) => `
    update source_account set is_shared = true
    where merchant_id = ${merchantId} and source_id = ${sourceId}
      and (learnt_from = 'api') = ${learntFromApi} and account <> all (${but}) and not is_shared`,
});

/** An account always has an owner, or an event of another merchant could claim it. */
const HAND_OVER = statement({
  params: { merchantId: text, sourceId: text },
  text: ({ merchantId, sourceId }) => `
    update source_account n set is_shared = false
    from (
      select distinct on (o.provider, o.mode, o.account) o.source_id, o.account
      from source_account a join source_account o on ${OTHER_SOURCE}
      where a.merchant_id = ${merchantId} and a.source_id = ${sourceId} and a.is_shared
        and not exists (select from source_account o where ${SAME_ACCOUNT} and not o.is_shared)
      order by o.provider, o.mode, o.account, o.created_at, o.source_id) heir
    where n.merchant_id = ${merchantId} and n.source_id = heir.source_id and n.account = heir.account`,
});

/** Takes these accounts off the source where another one owns them, for the source to be noted anew in the same transaction. */
export async function deleteShared(
  tx: Tx,
  { merchantId, sourceId }: SourceKey,
  accounts: readonly string[],
): Promise<number> {
  return DELETE_SHARED.run(tx, { merchantId, sourceId, accounts });
}

const DELETE_SHARED = statement({
  params: { merchantId: text, sourceId: text, accounts: array(text) },
  text: ({ merchantId, sourceId, accounts }) => `
    delete from source_account
    where merchant_id = ${merchantId} and source_id = ${sourceId} and account = any (${accounts}) and is_shared`,
});

/**
 * Forgets what other merchants' sources learnt of these accounts from events. Who has a source's secret can sign any event for
 * it, so an event is no proof against another merchant; the operator's word is.
 */
export async function deleteLearntElsewhere(
  tx: Tx,
  { merchantId, provider, mode }: SourceAccountKind,
  accounts: readonly string[],
): Promise<void> {
  await DELETE_LEARNT.run(tx, { merchantId, provider, mode, accounts });
}

const DELETE_LEARNT = statement({
  params: { merchantId: text, provider: text, mode: text, accounts: array(text) },
  text: ({ merchantId, provider, mode, accounts }) => `
    delete from source_account
    where merchant_id <> ${merchantId} and provider = ${provider} and mode = ${mode} and account = any (${accounts})
      and learnt_from = 'event'`,
});

/** The accounts of the merchant's sources, by source. */
export async function accountsBySource(
  db: Queryable,
  merchantId: string,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = await ACCOUNTS_BY_SOURCE.all(db, { merchantId });
  return new Map(found.map(({ sourceId, accounts }) => [sourceId, accounts]));
}

const ACCOUNTS_BY_SOURCE = statement({
  params: { merchantId: text },
  row: { sourceId: text, accounts: array(text) },
  text: ({ merchantId }) => `
    select source_id, array_agg(account order by account) as accounts from source_account
    where merchant_id = ${merchantId} group by source_id`,
});

/** Sources of accounts that another source answers for as well, of every merchant: the first `limit`. */
export async function selectSharedAccounts(db: Queryable, limit: number): Promise<readonly SourceAccount[]> {
  return SELECT_SHARED.all(db, { limit });
}

const SELECT_SHARED = statement({
  acrossMerchants: 'a warning to the operator',
  params: { limit: bigint },
  row: ACCOUNT.shape,
  text: ({ limit }) => `
    select ${columns(ACCOUNT.shape, 'a')} from source_account a
    where is_shared
      and exists (
        select from source_account o where ${SAME_ACCOUNT} and (o.merchant_id, o.source_id) <> (a.merchant_id, a.source_id))
    order by merchant_id, source_id limit ${limit}`,
});

/** Lets another source of the merchant answer for the accounts of this one; of an account that both have, one row stays. */
export async function moveAccounts(
  tx: Tx,
  { merchantId, from, into }: { readonly merchantId: string; readonly from: string; readonly into: string },
): Promise<void> {
  // An account that one of them has alone wins over the row of the other that shares it.
  await DELETE_TWICE.run(tx, { merchantId, sourceId: into, other: from, onlyShared: true });
  await DELETE_TWICE.run(tx, { merchantId, sourceId: from, other: into, onlyShared: false });
  await MOVE_ACCOUNTS.run(tx, { merchantId, from, into });
}

const DELETE_TWICE = statement({
  params: { merchantId: text, sourceId: text, other: text, onlyShared: boolean },
  text: (p) => `
    delete from source_account a using source_account o
    where a.merchant_id = ${p.merchantId} and a.source_id = ${p.sourceId} and (a.is_shared or not ${p.onlyShared})
      and o.merchant_id = a.merchant_id and o.source_id = ${p.other} and o.account = a.account`,
});

const MOVE_ACCOUNTS = statement({
  params: { merchantId: text, from: text, into: text },
  text: ({ merchantId, from, into }) =>
    `update source_account set source_id = ${into} where merchant_id = ${merchantId} and source_id = ${from}`,
});
