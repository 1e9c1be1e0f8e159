import { expect } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import type { Pool } from '../../src/db/pool.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import type { Posting } from '../../src/ledger/entry.ts';
import type { LotRule } from '../../src/ledger/lots/notices.ts';
import type { LowBalanceRule } from '../../src/ledger/low-balance/rule.ts';
import { openWallets } from '../../src/ledger/open-wallets.ts';
import type { LedgerSettings } from '../../src/ledger/store.ts';

export const MERCHANT = 'bus_default';

export const RULE: LowBalanceRule = {
  defaultThresholds: new Map([
    ['USD', 1000],
    ['INR', 50_000],
  ]),
  marginPercent: 10,
  minIntervalSeconds: 3600,
  reminderSeconds: 0,
};

/** The default of MAX_BONUS_RATIO. */
export const BONUS_RATIO = { numerator: 2n, denominator: 1n } as const;

/** Notices of lots of the length that tests have time for. */
export const LOT_RULE: LotRule = { noticeDays: [2, 1], noticeMinimums: new Map([['USD', 5]]), paidExpiryMinDays: null };

export const SETTINGS: LedgerSettings = { currencies: new Set(['USD', 'INR']), rule: RULE, lotRule: LOT_RULE };

/** Makes the default merchant and customers `cus_<name>` with their wallets. */
export async function makeCustomers(pool: Pool, names: readonly string[], merchantId = MERCHANT): Promise<string[]> {
  const ids = names.map((name) => `cus_${name}`);
  const now = new Date('2026-01-01T00:00:00Z');
  await transaction(pool, async (tx) => {
    await tx.query(
      "insert into merchant (merchant_id, name, mode) values ($1, 'Test', 'test') on conflict do nothing",
      [merchantId],
    );
    await tx.query(
      "insert into customer (merchant_id, customer_id, email, name, created_at) select $1, id, '', '', $3 from unnest($2::text[]) as id",
      [merchantId, ids, now],
    );
    await openWallets(
      tx,
      ids.map((customerId) => ({ merchantId, customerId })),
      { ...SETTINGS, now },
    );
  });
  return ids;
}

export function posting(overrides: Partial<Posting> & Pick<Posting, 'amountMinor'>): Posting {
  return {
    merchantId: MERCHANT,
    customerId: 'cus_a',
    currency: 'USD',
    isCredit: true,
    eventType: 'merchant_adjustment',
    reason: null,
    referenceObjectId: null,
    metadata: null,
    idempotencyKey: null,
    ...overrides,
  };
}

/** The end of every test that moves money: the books agree. */
export async function expectBooksToAgree(pool: Pool): Promise<void> {
  expect((await audit(autocommit(pool))).disagreements).toEqual([]);
}
