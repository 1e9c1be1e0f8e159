import { expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { onCitus } from '../../src/db/backend.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { listEntries } from '../../src/ledger/history.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { walletResponse } from '../../src/views/wallet.ts';
import { createTestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, posting, SETTINGS } from '../support/ledger.ts';
import { runMigrations } from '../support/release-before.ts';

const logger = createLogger('silent', 'test');
const EVERYTHING = {
  currency: null,
  eventType: null,
  createdFrom: null,
  createdTo: null,
  afterSeq: null,
  beforeSeq: null,
  pageSize: 10,
  pageNumber: 0,
};

it.skipIf(onCitus())(
  'leaves the entries of the release before as they are, posts nothing, and begins the chain with the next entry',
  async () => {
    const database = await createTestDatabase(2, 'template1');
    await runMigrations(database, 17);
    await database.pool.query(`
    insert into merchant (merchant_id, name, mode) values ('bus_default', 'Test', 'test') on conflict do nothing;
    insert into customer (merchant_id, customer_id, email, name, created_at) values ('bus_default', 'cus_a', '', '', '2026-01-01');
    insert into wallet (merchant_id, customer_id, currency, balance, version, alerts_armed, created_at, updated_at)
      values ('bus_default', 'cus_a', 'USD', 1900, 2, true, '2026-01-01', '2026-01-03');
    insert into entry (merchant_id, customer_id, currency, seq, amount, is_credit, event_type, before_balance, after_balance, created_at)
      values ('bus_default', 'cus_a', 'USD', 1, 2000, true, 'merchant_adjustment', 0, 2000, '2026-01-02'),
        ('bus_default', 'cus_a', 'USD', 2, 100, false, 'merchant_adjustment', 2000, 1900, '2026-01-03');
    insert into unannounced_wallet (merchant_id, customer_id, currency) values ('bus_default', 'cus_a', 'USD')`);

    await migrate(database.ownerUrl, logger);
    const db = autocommit(database.pool);
    const entries = () => listEntries(db, { merchantId: MERCHANT, customerId: 'cus_a' }, EVERYTHING);
    expect((await entries()).map(({ seq, hash }) => [seq, hash])).toEqual([
      [2, null],
      [1, null],
    ]);
    const [wallet] = await readWallets(db, MERCHANT, ['cus_a']);
    expect(wallet && walletResponse(wallet)).toMatchObject({ balance: 1900, head: null });
    await expectBooksToAgree(database.pool);

    const next = [posting({ amountMinor: 100 }), posting({ amountMinor: 50, isCredit: false })];
    await transaction(database.pool, (tx) => postBatch(tx, next, { ...SETTINGS, now: new Date() }));
    const [newest] = await entries();
    const [moved] = await readWallets(db, MERCHANT, ['cus_a']);
    expect(newest?.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(moved && walletResponse(moved).head).toBe(newest?.hash);
    await migrate(database.ownerUrl, logger, { closeRelease: 'once' });
    await expectBooksToAgree(database.pool);
    await database.drop();
  },
);
