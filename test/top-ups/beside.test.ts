import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { besideEachOther } from '../../src/top-ups/beside.ts';
import { putRule } from '../../src/top-ups/manage.ts';
import { testSource } from '../support/inbox.ts';
import { posting, SETTINGS } from '../support/ledger.ts';
import { newMerchantKey } from '../support/merchant-key.ts';
import { rounds } from '../support/rounds.ts';
import { TopUpRig } from '../support/top-up-rig.ts';

const unexpected = (_: string, error: unknown) => {
  throw error;
};

describe('work for merchants', () => {
  it('goes on for others while one waits, and begins with whoever comes', async () => {
    const stuck = Promise.withResolvers<void>();
    const worked: string[] = [];
    let due = ['mer_slow', 'mer_quick'];
    await besideEachOther({
      signal: new AbortController().signal,
      failed: unexpected,
      merchants: async () => due,
      async page(merchantId, slots) {
        await slots.forEach([1, 2, 3], () => (merchantId === 'mer_slow' ? stuck.promise : Promise.resolve()));
        worked.push(merchantId);
        if (merchantId === 'mer_quick') due = ['mer_late'];
        if (merchantId === 'mer_late') {
          due = [];
          stuck.resolve();
        }
        return false;
      },
    });
    expect(worked).toEqual(['mer_quick', 'mer_late', 'mer_slow']);
  });

  it('goes through page after page, and ends where nothing is due', async () => {
    let pages = 3;
    const done = {
      signal: new AbortController().signal,
      failed: unexpected,
      merchants: async () => (pages > 0 ? ['mer_a'] : []),
    };
    await besideEachOther({
      ...done,
      async page() {
        pages -= 1;
        return pages > 0;
      },
    });
    expect(pages).toBe(0);
  });

  it('ends when the database is away, once what is under way is done', async () => {
    let isDone = false;
    const away = Object.assign(new Error('the database is away'), { code: 'ECONNREFUSED' });
    const underWay = Promise.withResolvers<void>();
    const failing = besideEachOther({
      signal: new AbortController().signal,
      failed: unexpected,
      merchants: async () => ['mer_a', 'mer_b'],
      async page(merchantId, slots) {
        if (merchantId === 'mer_a') {
          await underWay.promise;
          throw away;
        }
        await slots.forEach([1], async () => {
          underWay.resolve();
          await new Promise((resolve) => setTimeout(resolve, 50));
        });
        isDone = true;
        return true;
      },
    });
    await expect(failing).rejects.toBe(away);
    expect(isDone).toBe(true);
  });

  it('goes on for others where a merchant’s page fails, begins no more of his, and fails at the end', async () => {
    const pages: string[] = [];
    const told: string[] = [];
    const due = new Map([
      ['mer_a', 1],
      ['mer_b', 3],
    ]);
    const failing = besideEachOther({
      signal: new AbortController().signal,
      failed: (merchantId) => void told.push(merchantId),
      merchants: async () => [...due.keys()],
      async page(merchantId) {
        pages.push(merchantId);
        if (merchantId === 'mer_a') throw new Error('of one merchant');
        const left = (due.get(merchantId) ?? 0) - 1;
        due.set(merchantId, left);
        if (left === 0) due.delete(merchantId);
        return left > 0;
      },
    });
    await expect(failing).rejects.toThrow('of one merchant');
    expect(pages).toEqual(['mer_a', 'mer_b', 'mer_b', 'mer_b']);
    expect(told).toEqual(['mer_a']);
  });
});

describe('wallets of another merchant', () => {
  let rig: TopUpRig;
  const theirs = testSource('stripe', { merchantId: 'mer_other', sourceId: 'src_other' });
  beforeAll(async () => {
    rig = await TopUpRig.start({ others: [theirs] });
    await newMerchantKey(rig.database.pool, 'mer_other');
  });
  afterAll(() => rig.stop());

  it('are filled up at once, however many a merchant has due whose provider does not answer', async () => {
    const many = rounds(150, 10_000);
    const key = { merchantId: 'mer_other', customerId: 'cus_other', currency: 'USD' };
    await rig.database.pool.query(
      "insert into customer (merchant_id, customer_id, email, name, created_at) values ('mer_other', 'cus_other', '', '', now())",
    );
    const first = await rig.begin({}, 900);
    // As many more as he has, with the same card.
    await rig.database.pool.query(
      `insert into customer (merchant_id, customer_id, email, name, created_at)
       select merchant_id, customer_id || '_' || n, '', '', now() from customer, generate_series(1, $2::int) n where customer_id = $1`,
      [first.customerId, many],
    );
    for (const table of ['wallet', 'topup_rule', 'topup_due']) {
      const { rows } = await rig.database.pool.query<{ names: string }>(
        `select string_agg(attname, ', ' order by attnum) as names from pg_attribute
         where attrelid = $1::regclass and attnum > 0 and not attisdropped and attname <> 'customer_id' and attgenerated = ''`,
        [table],
      );
      const names = rows[0]?.names;
      await rig.database.pool.query(
        `insert into ${table} (customer_id, ${names}) select customer_id || '_' || n, ${names}
         from ${table}, generate_series(1, $2::int) n where customer_id = $1`,
        [first.customerId, many],
      );
    }
    const terms = {
      ...{ enabled: true, threshold: 1000, mode: 'amount' as const, amount: 2000, target: null, maxCharge: 2000 },
      ...{ monthlyCap: 100_000, maxPerDay: 10, minIntervalSeconds: 600, timeZone: 'UTC', payment: null, source: null },
      consent: { acceptedAt: rig.now, textVersion: '1' },
    };
    const moment = { currencies: SETTINGS.currencies, now: rig.now };
    await transaction(rig.database.pool, (tx) => putRule(tx, { ...key, ...terms }, moment));
    const credit = posting({ ...key, amountMinor: 900, isCredit: true, idempotencyKey: null });
    await transaction(rig.database.pool, (tx) => postBatch(tx, [credit], { ...SETTINGS, now: rig.now }));

    const stop = new AbortController();
    const answers = Promise.withResolvers<never>();
    let asked = 0;
    const services = rig.services({ signal: stop.signal });
    const run = rig.run({
      ...services,
      connect: async (source) => {
        const charger = await services.connect(source);
        if (charger === null) return null;
        return {
          ...charger,
          chargeSaved: () => {
            asked += 1;
            return Promise.race([
              answers.promise,
              new Promise<never>((_, reject) => stop.signal.addEventListener('abort', () => reject(new Error('gone')))),
            ]);
          },
        };
      },
    });
    await expect.poll(() => asked, { timeout: 60_000 }).toBe(8);
    await expect.poll(() => rig.attempts(key), { timeout: 60_000 }).toMatchObject([{ state: 'requested' }]);
    expect(asked).toBe(8);
    stop.abort();
    await run;
    const { rows } = await rig.database.pool.query("select 1 from topup where customer_id <> 'cus_other'");
    expect(rows).toHaveLength(8);
  }, 120_000);
});
