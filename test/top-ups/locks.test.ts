import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit, type Tx, transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { lockWallets, postBatch } from '../../src/ledger/store.ts';
import { addTopUpDue, setTopUpDue } from '../../src/ledger/top-up-due.ts';
import { begin } from '../../src/top-ups/begin.ts';
import { failTopUp, requestTopUp } from '../../src/top-ups/manage.ts';
import { posting, SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { rounds } from '../support/rounds.ts';
import { TopUpRig } from '../support/top-up-rig.ts';
import { eventually } from '../support/wait.ts';

let rig: TopUpRig;
beforeAll(async () => {
  rig = await TopUpRig.start();
});
afterAll(() => rig.stop());

/** A debit that falls below the threshold, which has locked its wallet when `beside` begins, and goes on once that waits or is done. */
async function debitBeside(key: WalletKey, beside: () => Promise<unknown>): Promise<void> {
  const moment = { ...SETTINGS, now: rig.now };
  let other: Promise<unknown> = Promise.resolve();
  tries = 0;
  await once(async (tx) => {
    await lockWallets(tx, [key], { currencies: new Set(['USD']), now: rig.now });
    other = beside();
    await Promise.race([other, someoneToWait()]);
    await postBatch(tx, [posting({ ...key, amountMinor: 200, isCredit: false, idempotencyKey: null })], moment);
  });
  await other;
  // What was ended by a circle of waits is tried again by itself.
  expect(tries).toBeLessThanOrEqual(2);
}

let tries = 0;

function once<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
  return transaction(rig.database.pool, (tx) => {
    tries += 1;
    return work(tx);
  });
}

function someoneToWait(): Promise<unknown> {
  return eventually('a session to wait for a lock', async () => (await waitingForLocks(rig.database.pool)) > 0);
}

const dueOf = async ({ customerId }: WalletKey) =>
  (await rig.database.pool.query('select retry_at from topup_due where customer_id = $1', [customerId])).rows;

describe('a debit that puts its wallet on the work list, and whoever does the same at that time, wait for nothing in a circle:', () => {
  it('news of an attempt', async () => {
    const key = await rig.begin({ payment: null });
    const request = { ...key, amount: 500, idempotencyKey: 'k', session: null };
    const { topUp } = await transaction(rig.database.pool, (tx) =>
      requestTopUp(tx, request, { currencies: SETTINGS.currencies, now: rig.now }),
    );
    const failure = { declineCode: null, isHard: false, now: rig.now };
    await debitBeside(key, () => once((tx) => failTopUp(tx, topUp, failure)));
    expect(await dueOf(key)).toHaveLength(1);
  });

  it('whoever could not ask a provider', async () => {
    const key = await rig.begin();
    const retryAt = new Date(rig.now.getTime() + 60_000);
    const later = { ...key, since: rig.now, retryAt };
    await debitBeside(key, () => once((tx) => setTopUpDue(tx, [later])));
    expect(await dueOf(key)).toEqual([{ retry_at: retryAt }]);
  });

  it('the scan, which leaves such a wallet to the debit', async () => {
    const key = await rig.begin();
    const scan = () => addTopUpDue(autocommit(rig.database.pool), key.merchantId, { keys: [key], now: rig.now });
    let found = -1;
    await debitBeside(key, async () => {
      found = await scan();
    });
    expect(found).toBe(0);
    expect(await dueOf(key)).toHaveLength(1);
  });
});

describe('a wallet that is below its threshold', () => {
  const look = (key: WalletKey) => {
    // So little is never charged: else an attempt in flight would keep it on the list.
    const gatewayMinimum = 1_000_000;
    const beginning = { key, method: null, askedFor: null, isProven: false, gatewayMinimum, now: rig.now };
    return once((tx) => begin(tx, beginning));
  };

  it('stands on the list while debits and credits take it below and above, beside whoever takes it off', async () => {
    const { pool } = rig.database;
    const key = await rig.begin({ payment: null });
    for (let round = 0; round < rounds(12, 60, 200); round += 1) {
      const amounts = Array.from({ length: 6 }, () => Math.floor(Math.random() * 300) - 150).filter((one) => one !== 0);
      await Promise.all(
        amounts.flatMap((amount) => [rig.post(key, Math.abs(amount), amount > 0).catch(() => {}), look(key)]),
      );
      const { rows } = await pool.query<{ balance: number; is_listed: boolean }>(
        `select w.balance, d.customer_id is not null as is_listed
         from wallet w left join topup_due d using (merchant_id, customer_id, currency)
         where w.customer_id = $1 and w.currency = 'USD'`,
        [key.customerId],
      );
      expect(rows.filter(({ balance, is_listed }) => balance < 1000 && !is_listed)).toEqual([]);
    }
  });
});

it('one key that is asked for in two wallets at once is refused to the second of them', async () => {
  const key = await rig.begin({ payment: null });
  const moment = { currencies: SETTINGS.currencies, now: rig.now };
  const request = { ...key, amount: 500, idempotencyKey: 'of both', session: null };
  let other: Promise<unknown> = Promise.resolve();
  await once(async (tx) => {
    await requestTopUp(tx, request, moment);
    other = once((second) => requestTopUp(second, { ...request, currency: 'INR' }, moment)).catch((error) => error);
    await Promise.race([other, someoneToWait()]);
  });
  expect(await other).toMatchObject({ refusal: { code: 'IDEMPOTENCY_KEY_REUSED' } });
});
