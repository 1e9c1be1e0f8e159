import { randomBytes } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, type Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import type { CustomerKey } from '../ledger/entry.ts';
import { exceeds, formatRate, MAX_AMOUNT_MINOR, type Rate } from '../money.ts';
import { endProblem } from '../payments/intent.ts';
import { hashToken, TOKEN_PREFIX, type TokenTerms } from '../payments/token.ts';
import { countLivingTokens, deleteEndedTokens, endToken, insertToken } from '../payments/token-store.ts';
import { lockCustomer, requireCustomer } from './store.ts';

export interface TokenRequest extends Omit<TokenTerms, 'expiresAt'> {
  readonly merchantId: string;
  readonly expiresInSeconds: number;
}

/** How long a token is good for unless its maker says otherwise, and the bounds of that, in seconds. */
export const TOKEN_LIFE = { least: 60, usual: 86_400, most: 2_592_000 } as const;

/** How many tokens of one customer may be unused, neither ended nor revoked, at a time. */
export const MAX_LIVING_TOKENS = 1_000;

/** What the terms of a token are held against. */
interface TokenRules {
  readonly currencies: ReadonlySet<string>;
  readonly maxBonusRatio: Rate;
  /** What was paid may end after so many days at the soonest; null: never. */
  readonly paidExpiryMinDays?: number | null;
  readonly now: Date;
}

/**
 * Makes a token for a payment of the customer. Only its hash is kept.
 * @throws {RefusalError} CUSTOMER_NOT_FOUND, UNSUPPORTED_CURRENCY; INVALID_FIELD for terms that no payment could keep;
 *   PAYMENT_TOKEN_LIMIT if the customer has {@link MAX_LIVING_TOKENS}
 */
export async function createPaymentToken(
  tx: Tx,
  { merchantId, expiresInSeconds, ...terms }: TokenRequest,
  { currencies, maxBonusRatio, paidExpiryMinDays = null, now }: TokenRules,
): Promise<{ readonly token: string; readonly expiresAt: Date }> {
  const { customerId, currency } = terms;
  if (!currencies.has(currency)) refuse({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] });
  refuseGrant(terms, { maxBonusRatio, paidExpiryMinDays });
  // Two that ask at once take turns, so that no more are made than may be.
  await lockCustomer(tx, merchantId, customerId);
  const most = MAX_LIVING_TOKENS;
  if ((await countLivingTokens(tx, { merchantId, customerId }, { now, most })) >= most)
    refuse({ code: 'PAYMENT_TOKEN_LIMIT', most });
  const token = `${TOKEN_PREFIX}${randomBytes(16).toString('hex')}`;
  const expiresAt = new Date(now.getTime() + expiresInSeconds * 1000);
  await insertToken(tx, { merchantId, ...terms, tokenHash: hashToken(token), expiresAt }, now);
  return { token, expiresAt };
}

/** What a payment under these terms would be parked for. */
function refuseGrant(
  terms: Omit<TokenTerms, 'expiresAt'>,
  { maxBonusRatio, paidExpiryMinDays }: { readonly maxBonusRatio: Rate; readonly paidExpiryMinDays: number | null },
): void {
  const { purpose, amount, creditAmount, bonusAmount = null, bonusDays = null, paidDays = null } = terms;
  const fields = {
    ...{ credit_amount: creditAmount, bonus_amount: bonusAmount },
    ...{ bonus_expires_in_days: bonusDays, expires_in_days: paidDays },
  };
  const invalid = (field: keyof typeof fields, wants: string) => refuse({ code: 'INVALID_FIELD', field, wants });
  for (const field of ['credit_amount', 'bonus_amount', 'bonus_expires_in_days', 'expires_in_days'] as const) {
    if (fields[field] !== null && purpose !== 'topup') invalid(field, 'is for a topup.');
  }
  const ends = endProblem({ purpose, creditAmount, paidDays }, paidExpiryMinDays);
  if (ends !== null) refuse({ code: 'PAID_CREDIT_CANNOT_EXPIRE', minDays: paidExpiryMinDays });
  const field = creditAmount === null ? 'bonus_amount' : 'credit_amount';
  if (creditAmount !== null && bonusAmount !== null) invalid('bonus_amount', 'wants no credit_amount beside it.');
  if (creditAmount === null && bonusAmount === null) return;
  if (amount === null) invalid(field, 'wants amount beside it.');
  else if (exceeds(creditAmount ?? Math.min(amount + (bonusAmount ?? 0), MAX_AMOUNT_MINOR), amount, maxBonusRatio)) {
    const what = creditAmount === null ? 'with amount ' : '';
    invalid(field, `wants no more ${what}than ${formatRate(maxBonusRatio)} times amount (MAX_BONUS_RATIO).`);
  }
}

/** Ends a token at once, also for payments under way. @throws {RefusalError} CUSTOMER_NOT_FOUND, NO_SUCH_PAYMENT_TOKEN */
export async function revokePaymentToken(
  db: Queryable,
  { merchantId, customerId, token }: CustomerKey & { readonly token: string },
  now: Date,
): Promise<void> {
  await requireCustomer(db, merchantId, customerId);
  const isThere = await endToken(db, { merchantId, customerId, tokenHash: hashToken(token) }, now);
  if (!isThere) refuse({ code: 'NO_SUCH_PAYMENT_TOKEN' });
}

/**
 * For how long after its end, or after it was revoked, a token is kept that no payment used: a provider may tell of a payment
 * weeks after it was tried. Later than that, its payment is parked as one with a token that nobody made.
 */
export const ENDED_TOKENS_KEPT_DAYS = 90;
const DAY_MS = 86_400_000;
/** Few rows a statement, so that no lock is held for long; what one run leaves, the next one finds. */
const BATCH = 500;
const MAX_BATCHES = 20;

/** Deletes tokens that ended unused {@link ENDED_TOKENS_KEPT_DAYS} ago, 10,000 at most. @returns how many */
export async function deleteOldTokens({
  pool,
  clock,
}: {
  readonly pool: Pool;
  readonly clock: Clock;
}): Promise<number> {
  const endedBefore = new Date(clock.now().getTime() - ENDED_TOKENS_KEPT_DAYS * DAY_MS);
  let deleted = 0;
  for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
    const count = await deleteEndedTokens(autocommit(pool), endedBefore, BATCH);
    deleted += count;
    if (count < BATCH) break;
  }
  return deleted;
}
