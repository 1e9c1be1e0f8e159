import { eachMerchant, ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, boolean, hex, integer, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, matches, omit, pick, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { PaymentToken, TokenTerms } from './token.ts';

const TOKEN = table('payment_token', {
  merchantId: text,
  tokenHash: hex,
  customerId: text,
  purpose: oneOf<TokenTerms['purpose']>(),
  currency: text,
  amount: nullable(bigint),
  creditAmount: nullable(bigint),
  bonusAmount: nullable(bigint),
  bonusDays: nullable(integer),
  paidDays: nullable(integer),
  expiresAt: timestamptz,
  revokedAt: nullable(timestamptz),
  usedSourceId: nullable(text),
  usedPaymentId: nullable(text),
  seriesId: nullable(text),
  isFollowed: boolean,
});
const KEY = pick(TOKEN.shape, 'merchantId', 'tokenHash');
const OWN_KEY = omit(KEY, 'merchantId');
const USE = pick(TOKEN.shape, 'usedSourceId', 'usedPaymentId', 'seriesId', 'isFollowed');
const NEW = omit(TOKEN.shape, 'merchantId', 'revokedAt', 'usedSourceId', 'usedPaymentId', 'seriesId', 'isFollowed');

/** Stores the terms of a token of one of the merchant's customers. */
export async function insertToken(
  db: Queryable,
  { merchantId, ...token }: TokenTerms & TokenKey,
  now: Date,
): Promise<void> {
  const { bonusAmount = null, bonusDays = null, paidDays = null } = token;
  await INSERT_TOKEN.run(db, { merchantId, tokens: [{ ...token, bonusAmount, bonusDays, paidDays }], now });
}

const INSERT_TOKEN = statement({
  params: { merchantId: text, tokens: rowsOf(NEW), now: timestamptz },
  text: ({ merchantId, tokens, now }) => `
    insert into payment_token (merchant_id, ${columns(NEW)}, created_at)
    select ${merchantId}, ${columns(NEW, 'n')}, ${now} from ${tokens('n')}`,
});

/** How many tokens of the customer could still be paid with; counts to `most` at most. */
export async function countLivingTokens(
  db: Queryable,
  customer: { readonly merchantId: string; readonly customerId: string },
  { now, most }: { readonly now: Date; readonly most: number },
): Promise<number> {
  return (await COUNT_LIVING.one(db, { ...customer, now, most })).living;
}

const COUNT_LIVING = statement({
  params: { merchantId: text, customerId: text, now: timestamptz, most: bigint },
  row: { living: bigint },
  text: ({ merchantId, customerId, now, most }) => `
    select count(*) as living from (
      select from payment_token
      where merchant_id = ${merchantId} and customer_id = ${customerId}
        and used_payment_id is null and revoked_at is null and expires_at > ${now}
      limit ${most}) as one`,
});

/** Deletes tokens that ended before this time and that no payment used or follows. @returns how many, `limit` at most */
export async function deleteEndedTokens(db: Queryable, endedBefore: Date, limit: number): Promise<number> {
  const ended = await ENDED.all(db, { endedBefore, limit });
  let deleted = 0;
  await eachMerchant(ended, async (merchantId, own) => {
    const tokenHashes = own.map(({ tokenHash }) => tokenHash);
    deleted += await DELETE_ENDED.run(db, { merchantId, tokenHashes, endedBefore });
  });
  return deleted;
}

/** SQL for whether a token ended unused before this time. */
const hasEnded = (endedBefore: string) =>
  `used_payment_id is null and not is_followed and least(expires_at, revoked_at) < ${endedBefore}`;

const ENDED = statement({
  acrossMerchants: 'the sweep is over all of them',
  params: { endedBefore: timestamptz, limit: bigint },
  row: { merchantId: text, tokenHash: hex },
  text: ({ endedBefore, limit }) => `
    select merchant_id, token_hash from payment_token where ${hasEnded(endedBefore)}
    order by least(expires_at, revoked_at) limit ${limit}`,
});

const DELETE_ENDED = statement({
  params: { merchantId: text, tokenHashes: array(hex), endedBefore: timestamptz },
  text: ({ merchantId, tokenHashes, endedBefore }) => `
    with free as materialized (
      select token_hash from payment_token
      where merchant_id = ${merchantId} and token_hash = any (${tokenHashes}) and ${hasEnded(endedBefore)}
      order by token_hash
      for update skip locked)
    delete from payment_token t using free f where t.merchant_id = ${merchantId} and t.token_hash = f.token_hash`,
});

/** Ends a token of the customer at once; a token that was revoked before stays as it is. @returns false if there is none */
export async function endToken(
  db: Queryable,
  token: { readonly merchantId: string; readonly customerId: string; readonly tokenHash: string },
  now: Date,
): Promise<boolean> {
  return (await END_TOKEN.run(db, { ...token, now })) > 0;
}

const END_TOKEN = statement({
  params: { merchantId: text, customerId: text, tokenHash: hex, now: timestamptz },
  text: ({ merchantId, customerId, tokenHash, now }) => `
    update payment_token set revoked_at = coalesce(revoked_at, ${now})
    where merchant_id = ${merchantId} and token_hash = ${tokenHash} and customer_id = ${customerId}`,
});

export type TokenKey = Pick<PaymentToken, 'merchantId' | 'tokenHash'>;

/**
 * Locks these tokens in sorted order, so that of two payments with one token the second sees what the first did. To be called
 * after payments are locked and before wallets are.
 */
export async function lockTokens(tx: Tx, keys: readonly TokenKey[]): Promise<readonly PaymentToken[]> {
  return ofEachMerchant(keys, (merchantId, own) => LOCK_TOKENS.all(tx, { merchantId, keys: own }));
}

const LOCK_TOKENS = statement({
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: TOKEN.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(TOKEN.shape, 't')}
    from payment_token t join ${keys('k', { merchantId })} on ${matches(KEY, 't', 'k')}
    order by t.merchant_id, t.token_hash
    for update of t`,
});

/** These tokens, without a lock; tokens that do not exist are left out. */
export async function readTokens(db: Queryable, keys: readonly TokenKey[]): Promise<readonly PaymentToken[]> {
  return ofEachMerchant(keys, (merchantId, own) => READ_TOKENS.all(db, { merchantId, keys: own }));
}

const READ_TOKENS = statement({
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: TOKEN.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(TOKEN.shape, 't')}
    from payment_token t join ${keys('k', { merchantId })} on ${matches(KEY, 't', 'k')}`,
});

/** Notes which payments used or follow these tokens. The tokens must be locked. */
export async function saveTokenUses(tx: Tx, tokens: readonly PaymentToken[], now: Date): Promise<void> {
  if (tokens.length === 0) return;
  await ofEachMerchant(tokens, async (merchantId, own) => {
    await SAVE_USES.run(tx, { merchantId, tokens: own, now });
    return [];
  });
}

const SAVE_USES = statement({
  params: { merchantId: text, tokens: rowsOf({ ...OWN_KEY, ...USE }), now: timestamptz },
  text: ({ merchantId, tokens, now }) => `
    update payment_token t
    set used_source_id = n.used_source_id, used_payment_id = n.used_payment_id, series_id = n.series_id,
      used_at = coalesce(t.used_at, case when n.used_payment_id is not null then ${now}::timestamptz end), is_followed = n.is_followed
    from ${tokens('n', { merchantId })}
    where ${matches(KEY, 't', 'n')} and (t.used_payment_id is null
      or (t.used_source_id = n.used_source_id and t.used_payment_id = n.used_payment_id))`,
});
