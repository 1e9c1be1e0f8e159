import { eachMerchant } from '../db/by-merchant.ts';
import { bigint, float, nullable, text, timestamptz } from '../db/codec.ts';
import { merchantsDue } from '../db/merchant-walk.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, matches, omit } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { Wallet, WalletKey } from './entry.ts';
import { OWN_KEY, TOPUP_DUE, WALLET_KEY } from './tables.ts';

/**
 * The work list of wallets that are below their threshold, or were. The debit that takes a wallet below it puts it there (holds/store.ts), and
 * it is taken off under its lock, while it is not below: so whoever is below stands there, and further debits leave it alone. When to look
 * at it again is for its top-up rule to say.
 */

const OWN_DUE = omit(TOPUP_DUE.shape, 'merchantId', 'wokenAt');

/** So often a wallet is looked at whose rule is suspended: something else to pay with may be there. */
export const LOOK_WHILE_SUSPENDED_MS = 24 * 3_600_000;
/** Whoever is woken again and again is looked at so often at the most, since each look asks his provider. */
const LOOK_WHEN_WOKEN_MS = 60_000;

export interface TopUpClaim {
  readonly merchantId: string;
  readonly now: Date;
  readonly until: Date;
  readonly limit: number;
}

/** Takes the merchant's wallets that are to be looked at, for a time in which no other worker does. */
export async function claimTopUpDue(db: Queryable, claim: TopUpClaim): Promise<readonly WalletKey[]> {
  return CLAIM.all(db, { ...claim });
}

const CLAIM = statement({
  params: { merchantId: text, now: timestamptz, until: timestamptz, limit: bigint },
  row: WALLET_KEY,
  text: ({ merchantId, now, until, limit }) => `
    with due as materialized (
      select ${columns(WALLET_KEY)} from topup_due where merchant_id = ${merchantId} and retry_at <= ${now}
      order by retry_at limit ${limit} for update skip locked)
    update topup_due d set retry_at = ${until}, woken_at = null
    from due n where d.merchant_id = ${merchantId} and ${matches(WALLET_KEY, 'd', 'n')}
    returning ${columns(WALLET_KEY, 'd')}`,
});

/** The merchants who have a wallet that is to be looked at. */
export const merchantsWithTopUpDue = merchantsDue({ table: 'topup_due', column: 'retry_at' });

/** How late the most overdue look is; 0 if none is. */
export async function topUpDueLateSeconds(db: Queryable): Promise<number> {
  return Math.max(0, (await LATE.one(db)).seconds);
}

const LATE = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { seconds: float },
  text: () => `select coalesce(extract(epoch from now() - min(retry_at)), 0)::float8 as seconds from topup_due`,
});

/*
 * A row refers to its wallet, which is locked for it last, by Postgres itself. A debit locks the wallet first, and then writes the row: each
 * would wait for the other. So the wallet is locked first here too.
 */

/**
 * Says when each of these wallets is to be looked at, whether it stood on the list or not. One that was woken since it was claimed is
 * looked at as soon as that said: whoever looks at it now may have asked its provider before. What is inserted stands outside of WITH: within it, Citus misreads
 * what it has sent itself of rows that it locked.
 */
export async function setTopUpDue(
  tx: Tx,
  due: readonly (WalletKey & { readonly since: Date; readonly retryAt: Date })[],
): Promise<void> {
  await eachMerchant(due, (merchantId, own) => SET_DUE.run(tx, { merchantId, due: own }));
}

const SET_DUE = statement({
  name: 'set-top-up-due',
  params: { merchantId: text, due: rowsOf(OWN_DUE) },
  text: ({ merchantId, due }) => `
    with locked as materialized (
      select n.* from ${due('n', { merchantId })}
      join wallet w using (merchant_id, customer_id, currency)
      order by n.customer_id, n.currency
      for key share of w)
    insert into topup_due (merchant_id, ${columns(OWN_DUE)})
    select ${merchantId}, ${columns(OWN_DUE, 'n')} from locked n
    on conflict (merchant_id, customer_id, currency) do update
    set retry_at = case when topup_due.woken_at is null then excluded.retry_at else least(topup_due.retry_at, excluded.retry_at) end`,
});

/**
 * Has wallets of suspended rules looked at before their day is over, but not within a minute of the last look. It says when to look, and
 * nothing of whether to charge. @returns how many are looked at sooner by it
 */
export async function wakeTopUpDue(
  tx: Tx,
  merchantId: string,
  { keys, now }: { readonly keys: readonly WalletKey[]; readonly now: Date },
): Promise<number> {
  const sinceLook = (LOOK_WHILE_SUSPENDED_MS - LOOK_WHEN_WOKEN_MS) / 1000;
  return WAKE_DUE.run(tx, { merchantId, keys, now, sinceLook });
}

const WAKE_DUE = statement({
  params: { merchantId: text, keys: rowsOf(OWN_KEY), now: timestamptz, sinceLook: float },
  text: ({ merchantId, keys, now, sinceLook }) => `
    update topup_due d
    set woken_at = ${now}, retry_at = greatest(${now}, (d.retry_at at time zone 'UTC' - make_interval(secs => ${sinceLook})) at time zone 'UTC')
    from ${keys('k')}
    where d.merchant_id = ${merchantId} and d.customer_id = k.customer_id and d.currency = k.currency and d.woken_at is null
      and d.retry_at > greatest(${now}, (d.retry_at at time zone 'UTC' - make_interval(secs => ${sinceLook})) at time zone 'UTC')`,
});

/** Puts wallets on the list that do not stand there, but for those that somebody writes to now, which the next scan finds. @returns how many */
export async function addTopUpDue(
  db: Queryable,
  merchantId: string,
  { keys, now }: { readonly keys: readonly WalletKey[]; readonly now: Date },
): Promise<number> {
  return ADD_DUE.run(db, { merchantId, keys, now });
}

const ADD_DUE = statement({
  params: { merchantId: text, keys: rowsOf(OWN_KEY), now: timestamptz },
  text: ({ merchantId, keys, now }) => `
    with locked as materialized (
      select w.customer_id, w.currency from ${keys('k')}
      join wallet w on w.merchant_id = ${merchantId} and w.customer_id = k.customer_id and w.currency = k.currency
      for key share of w skip locked)
    insert into topup_due (merchant_id, customer_id, currency, since, retry_at)
    select ${merchantId}, k.customer_id, k.currency, ${now}, ${now} from locked k
    on conflict do nothing`,
});

/** Has wallets that stand on the list looked at no later than then: they are locked, and closed, which ends their rules. */
export async function hurryTopUpDue(
  tx: Tx,
  merchantId: string,
  closed: readonly (WalletKey & { readonly createdAt: Date })[],
): Promise<void> {
  await HURRY_DUE.run(tx, { merchantId, closed });
}

const HURRY_DUE = statement({
  params: { merchantId: text, closed: rowsOf({ ...OWN_KEY, createdAt: timestamptz }) },
  text: ({ merchantId, closed }) => `
    update topup_due d set retry_at = k.created_at
    from ${closed('k')}
    where d.merchant_id = ${merchantId} and d.customer_id = k.customer_id and d.currency = k.currency and d.retry_at > k.created_at`,
});

/** Takes a wallet off the list. Its row must be locked: else a debit under way would find it there, and then nobody would look. */
export async function removeTopUpDue(tx: Tx, { merchantId, customerId, currency }: WalletKey): Promise<void> {
  await REMOVE_DUE.run(tx, { merchantId, customerId, currency });
}

const REMOVE_DUE = statement({
  params: WALLET_KEY,
  text: ({ merchantId, customerId, currency }) => `
    delete from topup_due
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}`,
});

/** Sets below which balance a debit puts the wallet on the list; null for never. The wallet must be locked. */
export async function setTopUpBelow(
  tx: Tx,
  { merchantId, customerId, currency, topUpBelow }: WalletKey & Pick<Wallet, 'topUpBelow'>,
): Promise<void> {
  await SET_BELOW.run(tx, { merchantId, customerId, currency, topUpBelow });
}

const SET_BELOW = statement({
  params: { ...WALLET_KEY, topUpBelow: nullable(bigint) },
  text: ({ merchantId, customerId, currency, topUpBelow }) => `
    update wallet set topup_below = ${topUpBelow}
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}`,
});
