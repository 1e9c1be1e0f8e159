import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../../src/audit/checks.ts';
import { autocommit, Tx, transaction } from '../../../src/db/transaction.ts';
import { eraseTexts, type TextPlace } from '../../../src/ledger/erase-texts.ts';
import { sweepDueWallets } from '../../../src/ledger/holds/sweep.ts';
import type { CommandResult, LedgerCommand } from '../../../src/ledger/post.ts';
import type { ChangeStatus } from '../../../src/ledger/status/status.ts';
import { postBatch, readWallets } from '../../../src/ledger/store.ts';
import { createLogger } from '../../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../../support/ledger.ts';
import { WITHOUT_GUARDS } from '../../support/tampering.ts';

const START = new Date('2026-03-01T12:00:00Z');
const later = (days: number) => new Date(START.getTime() + days * 86_400_000);

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(40);
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const run = (commands: readonly LedgerCommand[], now = START) =>
  transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));

async function one(command: LedgerCommand, now = START): Promise<CommandResult> {
  const [result] = await run([command], now);
  if (result === undefined) throw new Error('a command without an outcome');
  return result;
}

const keyOf = (customerId: string) => ({ merchantId: MERCHANT, customerId, currency: 'USD' });
const setTo = (
  customerId: string,
  status: ChangeStatus['status'],
  pauseExpiry: boolean | null = null,
): ChangeStatus => ({
  ...{ op: 'change_status', ...keyOf(customerId), status, pauseExpiry, reason: 'Looks like fraud', actor: 'key:one' },
});

async function newCustomer(name: string): Promise<string> {
  const [customerId = ''] = await makeCustomers(database.pool, [name]);
  return customerId;
}

async function wallet(customerId: string) {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  const found = wallets.find(({ currency }) => currency === 'USD');
  if (found === undefined) throw new Error(`no wallet of ${customerId}`);
  return found;
}

const query = async (text: string, values: unknown[] = []) => (await database.pool.query(text, values)).rows;
const rules = async () =>
  (await audit(autocommit(database.pool), { rule: null, now: later(100) })).disagreements.map(({ rule }) => rule);

describe('the status of wallets on Postgres', () => {
  it('leaves the hundred changes of a lot to people: the end of a pause is none of them', async () => {
    const customerId = await newCustomer('paused-often');
    const terms = { kind: 'promo', name: null, priority: 50, end: { days: 30 } } as const;
    await run([posting({ customerId, amountMinor: 500, terms })]);
    const change = (priority: number): LedgerCommand => ({
      ...{ op: 'change_lot', ...keyOf(customerId), lotNo: 1, end: null, priority, reason: 'asked', actor: 'key:one' },
    });
    await run(Array.from({ length: 98 }, (_, index) => change(index % 2)));
    for (const days of [1, 3]) {
      await run([setTo(customerId, 'frozen', true)], later(days));
      await run([setTo(customerId, 'active')], later(days + 1));
    }
    const last = await run([change(2), change(3), change(4)], later(5));
    expect(last.map(({ kind }) => kind)).toEqual(['lot_changed', 'lot_changed', 'refused']);
    expect(last[1]).toMatchObject({ lot: { changes: 102, priority: 3 } });
    expect(last[2]).toMatchObject({ refusal: { code: 'LOT_CHANGE_LIMIT', most: 100 } });
  });

  it('is settled by the lock: a freeze among racing debits lets each through or refuses it, and none after it', async () => {
    const customerId = await newCustomer('racing');
    await run([posting({ customerId, amountMinor: 1000 })]);
    const debits = Array.from({ length: 30 }, () => one(posting({ customerId, amountMinor: 10, isCredit: false })));
    const [results] = await Promise.all([Promise.all(debits), one(setTo(customerId, 'frozen'))]);
    const done = results.filter(({ kind }) => kind === 'created').length;
    for (const result of results) if (result.kind === 'refused') expect(result.refusal.code).toBe('WALLET_FROZEN');
    expect(await wallet(customerId)).toMatchObject({ balance: 1000 - 10 * done, status: 'frozen' });
    expect(await one(posting({ customerId, amountMinor: 10, isCredit: false }))).toMatchObject({ kind: 'refused' });
  });

  it('is settled by the lock: of a close and a credit that race, one is refused', async () => {
    const outcomes = new Set<string>();
    for (const name of ['close1', 'close2', 'close3', 'close4']) {
      const customerId = await newCustomer(name);
      const [credit, close] = await Promise.all([
        one(posting({ customerId, amountMinor: 1 })),
        one(setTo(customerId, 'closed')),
      ]);
      const { status, balance } = await wallet(customerId);
      expect([credit.kind, close.kind, status, balance]).toEqual(
        close.kind === 'refused' ? ['created', 'refused', 'active', 1] : ['refused', 'status_set', 'closed', 0],
      );
      outcomes.add(status);
    }
    expect(outcomes.size).toBeGreaterThan(0);
  });

  it('keeps what is paused off the work list, so that neither a read nor the sweep looks at it again', async () => {
    const customerId = await newCustomer('paused');
    const terms = { kind: 'promo' as const, name: null, priority: 50, end: { days: 1 } };
    await run([posting({ customerId, amountMinor: 300, terms })]);
    await run([setTo(customerId, 'frozen', true)]);
    const sweep = () =>
      sweepDueWallets({
        ...{ pool: database.pool, settings: SETTINGS, clock: { now: () => later(50) }, onPosted: () => {} },
        ...{ signal: new AbortController().signal, logger: createLogger('silent', 'test') },
      });
    await sweep();
    expect(await query('select 1 from wallet_due where customer_id = $1', [customerId])).toEqual([]);
    expect(await wallet(customerId)).toMatchObject({ balance: 300, dueAt: null });
    expect(await rules()).toEqual([]);
    await run([setTo(customerId, 'active')], later(60));
    expect(await query('select due_at from wallet_due where customer_id = $1', [customerId])).toHaveLength(1);
    expect(await wallet(customerId)).toMatchObject({ balance: 300 });
    await one({ op: 'sweep', ...keyOf(customerId) }, later(61));
    expect(await wallet(customerId)).toMatchObject({ balance: 0, openLots: 0 });
  });

  it('is noted for ever, but for the reason of who is anonymised', async () => {
    const customerId = await newCustomer('gone');
    await run([setTo(customerId, 'frozen')]);
    for (const change of ["update wallet_status_change set actor = 'somebody'", 'delete from wallet_status_change'])
      await expect(query(change)).rejects.toThrow('insert-only');
    let place: TextPlace | null = null;
    do {
      ({ place } = await eraseTexts(autocommit(database.pool), { merchantId: MERCHANT, customerId }, place));
    } while (place !== null);
    expect(await query('select reason, actor from wallet_status_change where customer_id = $1', [customerId])).toEqual([
      { reason: null, actor: 'key:one' },
    ]);
  });

  it('is proved by the audit: 13a a closed wallet is empty, 13b the status is that of the last change', async () => {
    const customerId = await newCustomer('tampered');
    await run([setTo(customerId, 'frozen')]);
    const found = async (change: string) => {
      const client = await database.pool.connect();
      try {
        await client.query('begin');
        await client.query(WITHOUT_GUARDS);
        await client.query(change);
        const { disagreements } = await audit(new Tx(client));
        return disagreements.map(({ rule }) => rule.slice(0, 3));
      } finally {
        await client.query('rollback');
        client.release();
      }
    };
    const own = `customer_id = '${customerId}' and currency = 'USD'`;
    expect(await found(`update wallet set status = 'active' where ${own}`)).toEqual(['13b']);
    expect(await found(`delete from wallet_status_change where ${own}`)).toEqual(['13b']);
    expect(await found(`update wallet_status_change set old_status = 'closed' where ${own}`)).toEqual(['13b']);
    expect(await found(`update wallet_status_change set change_no = 2 where ${own}`)).toEqual(['13b']);
    const close = `update wallet set status = 'closed' where ${own}; update wallet_status_change set new_status = 'closed' where ${own}`;
    expect(await found(close)).toEqual([]);
    const unguarded = 'alter table wallet drop constraint wallet_status';
    const filled = `update wallet set balance = 5 where ${own}`;
    expect(await found(`${unguarded}; ${close}; ${filled}`)).toContain('13a');
    await expect(found(`${close}; ${filled}`)).rejects.toThrow('wallet_status');
  });
});
