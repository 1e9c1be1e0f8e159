import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createPaymentToken,
  deleteOldTokens,
  ENDED_TOKENS_KEPT_DAYS,
  MAX_LIVING_TOKENS,
  revokePaymentToken,
} from '../../src/customers/payment-tokens.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { RefusalError } from '../../src/errors.ts';
import { Tokens } from '../../src/inbox/tokens.ts';
import { hashToken } from '../../src/payments/token.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { BONUS_RATIO, MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';
import { newPayment, paymentFact } from '../support/payments.ts';

const DAY_MS = 86_400_000;
const NOW = new Date('2026-11-01T12:00:00Z');
const OTHER_MERCHANT = 'bus_other';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['old', 'many', 'racing', 'busy']);
  await makeCustomers(database.pool, ['many'], OTHER_MERCHANT);
});
afterAll(() => database.drop());

const at = (days: number) => new Date(NOW.getTime() + days * DAY_MS);
const run = (now: Date) => deleteOldTokens({ pool: database.pool, clock: { now: () => now } });

function make(customerId: string, now: Date, merchantId = MERCHANT): Promise<string> {
  const rules = { currencies: SETTINGS.currencies, maxBonusRatio: BONUS_RATIO, now };
  const terms = { purpose: 'topup', currency: 'USD', amount: null, creditAmount: null } as const;
  const request = { merchantId, customerId, ...terms, expiresInSeconds: 86_400 };
  return transaction(database.pool, async (tx) => (await createPaymentToken(tx, request, rules)).token);
}

/** Puts in tokens as the database has them: `day` is when they end. */
async function fill(customerId: string, count: number, day: number, merchantId = MERCHANT): Promise<void> {
  await database.pool.query(
    `insert into payment_token (merchant_id, token_hash, customer_id, purpose, currency, created_at, expires_at)
     select $1, sha256(($1 || $2 || $4 || n)::bytea), $2, 'topup', 'USD', $5, $5 from generate_series(1, $3) n`,
    [merchantId, customerId, count, String(day), at(day)],
  );
}

async function count(customerId: string): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>(
    'select count(*)::int as n from payment_token where customer_id = $1',
    [customerId],
  );
  return rows[0]?.n ?? 0;
}

/** Lets a payment take the token's terms, and use it or not. */
async function take(token: string, postings: number): Promise<void> {
  const fact = paymentFact({ metadata: { wallet_token: token } });
  await transaction(database.pool, async (tx) => {
    const tokens = await Tokens.lock(tx, [{ fact, payment: newPayment() }]);
    tokens.note(fact, newPayment({ tokenHash: hashToken(token), purpose: 'topup', postings }));
    await tokens.save(tx, NOW);
  });
}

describe('tokens that ended unused', () => {
  it('are deleted once they have been over for as long as they are kept, and no other ones', async () => {
    const [unused, used, followed, revoked] = [
      await make('cus_old', NOW),
      await make('cus_old', NOW),
      await make('cus_old', NOW),
      await make('cus_old', at(1.5)),
    ];
    await take(used, 1);
    await take(followed, 0);
    await revokePaymentToken(
      autocommit(database.pool),
      { merchantId: MERCHANT, customerId: 'cus_old', token: revoked },
      at(1.75),
    );
    const over = at(1 + ENDED_TOKENS_KEPT_DAYS);
    expect(await run(over)).toBe(0);
    expect(await run(new Date(over.getTime() + 1))).toBe(1);
    expect(await run(at(1.76 + ENDED_TOKENS_KEPT_DAYS))).toBe(1);
    expect(await run(at(5000))).toBe(0);
    const { rows } = await database.pool.query("select encode(token_hash, 'hex') as hash from payment_token");
    expect(rows.map(({ hash }) => hash).sort()).toEqual([used, followed].map(hashToken).sort());
    expect(rows.map(({ hash }) => hash)).not.toContain(hashToken(unused));
  });

  it('are deleted few at a time, and what one run leaves the next one finds', async () => {
    await fill('cus_busy', 10_200, 2);
    expect(await run(at(200))).toBe(10_000);
    expect(await run(at(200))).toBe(200);
    expect(await run(at(200))).toBe(0);
    expect(await count('cus_busy')).toBe(0);
  });

  it('are left alone while somebody holds them', async () => {
    await fill('cus_busy', 2, 3);
    await transaction(database.pool, async (tx) => {
      await tx.query(
        "select from payment_token where merchant_id = 'bus_default' and customer_id = 'cus_busy' order by token_hash limit 1 for update",
      );
      expect(await run(at(200))).toBe(1);
    });
    expect(await run(at(200))).toBe(1);
  });
});

describe('the living tokens of a customer', () => {
  it('are bounded: used, ended, revoked ones and those of others do not count', async () => {
    await fill('cus_many', MAX_LIVING_TOKENS, 0);
    await fill('cus_many', MAX_LIVING_TOKENS, 40, OTHER_MERCHANT);
    const used = await make('cus_many', NOW);
    await take(used, 1);
    const revoked = await make('cus_many', NOW);
    const named = { merchantId: MERCHANT, customerId: 'cus_many' };
    await revokePaymentToken(autocommit(database.pool), { ...named, token: revoked }, NOW);
    await fill('cus_many', MAX_LIVING_TOKENS - 1, 1);
    const last = await make('cus_many', NOW);
    const refused = new RefusalError({ code: 'PAYMENT_TOKEN_LIMIT', most: MAX_LIVING_TOKENS });
    await expect(make('cus_many', NOW)).rejects.toEqual(refused);
    await revokePaymentToken(autocommit(database.pool), { ...named, token: last }, NOW);
    await make('cus_many', NOW);
    await expect(make('cus_many', NOW)).rejects.toEqual(refused);
    await expect(make('cus_many', NOW, OTHER_MERCHANT)).rejects.toEqual(refused);
    await make('cus_racing', NOW);
  });

  it('stay within the bound where many are asked for at once', async () => {
    const before = await count('cus_racing');
    await fill('cus_racing', MAX_LIVING_TOKENS - 3 - before, 1);
    const asked = await Promise.allSettled(Array.from({ length: 12 }, () => make('cus_racing', NOW)));
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(await count('cus_racing')).toBe(MAX_LIVING_TOKENS);
  });
});
