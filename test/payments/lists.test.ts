import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { moveKey, paymentKey } from '../../src/ledger/keys.ts';
import { postBatch } from '../../src/ledger/store.ts';
import type { Fact } from '../../src/payments/fact.ts';
import { type NewHandled, readHandled, reopenHandled, saveHandled } from '../../src/payments/handled-store.ts';
import { paymentLife } from '../../src/payments/life.ts';
import { listPayments, type PaymentQuery, sourcesWithPayments } from '../../src/payments/list.ts';
import { type PaymentMove, saveMoves } from '../../src/payments/move-store.ts';
import type { Payment } from '../../src/payments/payment.ts';
import { lockPayments, savePayments } from '../../src/payments/store.ts';
import { paymentKeyText } from '../../src/payments/tables.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { disputeFact, paymentFact, refundFact } from '../support/payments.ts';
import { sentArray } from '../support/sent-array.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a', 'b']);
  await makeCustomers(database.pool, ['a', 'b'], 'bus_list');
});
afterAll(() => database.drop());

const at = (hour: number) => new Date(Date.UTC(2026, 10, 1, hour));

/** Opens a payment at a time, which is then known as this. */
async function open(
  key: Pick<Payment, 'paymentId'> & Partial<Pick<Payment, 'merchantId' | 'sourceId'>>,
  known: Partial<Payment>,
  time: Date,
): Promise<void> {
  const rules = { provider: 'stripe', refunds: 'auto', disputes: 'hold', capture: 'automatic' } as const;
  const opened = { merchantId: MERCHANT, sourceId: 'src_stripe', ...rules, ...key };
  await transaction(database.pool, async (tx) => {
    const payment = (await (await lockPayments(tx, [opened], time)).read()).get(paymentKeyText(opened));
    if (payment === undefined) throw new Error('the payment was not opened');
    await savePayments(tx, [{ ...payment, ...known }], time);
  });
}

describe('a list of payments', () => {
  const merchantId = 'bus_list';
  beforeAll(async () => {
    const paid = { state: 'succeeded', purpose: 'topup', currency: 'USD', amountPaid: 500, paidAt: 0 } as const;
    await open({ merchantId, sourceId: 'src_a', paymentId: 'a1' }, { ...paid, customerId: 'cus_a' }, at(1));
    await open({ merchantId, sourceId: 'src_b', paymentId: 'b2' }, { ...paid, customerId: 'cus_b' }, at(2));
    await open({ merchantId, sourceId: 'src_a', paymentId: 'a3' }, { state: 'failed', customerId: 'cus_a' }, at(3));
    await open({ merchantId, sourceId: 'src_b', paymentId: 'b4' }, { state: 'pending' }, at(4));
    await open({ merchantId, sourceId: 'src_a', paymentId: 'a4' }, { ...paid, customerId: 'cus_a' }, at(4));
    await open({ sourceId: 'src_a', paymentId: 'of_another_merchant' }, paid, at(5));
  });

  const ALL: PaymentQuery = {
    state: null,
    customerId: null,
    sourceId: null,
    since: null,
    pageSize: 10,
    pageNumber: 0,
  };
  const listed = async (query: Partial<PaymentQuery>) =>
    (await listPayments(autocommit(database.pool), merchantId, { ...ALL, ...query })).map(
      ({ payment }) => payment.paymentId,
    );

  it.each<[string, Partial<PaymentQuery>, string[]]>([
    ['all, newest first, those of one moment by source', {}, ['a4', 'b4', 'a3', 'b2', 'a1']],
    ['those of a source', { sourceId: 'src_a' }, ['a4', 'a3', 'a1']],
    ['none of a source that told of none', { sourceId: 'src_c' }, []],
    ['those of a customer', { customerId: 'cus_b' }, ['b2']],
    ['those in a state', { state: 'succeeded' }, ['a4', 'b2', 'a1']],
    ['those first heard of at a time or later', { since: at(3) }, ['a4', 'b4', 'a3']],
    [
      'what all of that is true of',
      { sourceId: 'src_a', customerId: 'cus_a', state: 'succeeded', since: at(2) },
      ['a4'],
    ],
  ])('has %s', async (_, query, ids) => {
    expect(await listed(query)).toEqual(ids);
  });

  it('comes in pages, of which together each payment is on one', async () => {
    const pages = [];
    for (const pageNumber of [0, 1, 2, 3]) pages.push(await listed({ pageSize: 2, pageNumber }));
    expect(pages).toEqual([['a4', 'b4'], ['a3', 'b2'], ['a1'], []]);
    expect(await listed({ pageSize: 2, pageNumber: 1, sourceId: 'src_a' })).toEqual(['a1']);
  });

  it('says of each what is known, its provider and when it was first heard of', async () => {
    const [first] = await listPayments(autocommit(database.pool), merchantId, { ...ALL, customerId: 'cus_b' });
    expect(first).toMatchObject({ provider: 'stripe', createdAt: at(2) });
    expect(first?.payment).toMatchObject({ sourceId: 'src_b', state: 'succeeded', amountPaid: 500, currency: 'USD' });
  });

  it('knows every source that told of a payment, once, and none of a merchant without any', async () => {
    expect(await sourcesWithPayments(autocommit(database.pool), merchantId)).toEqual(['src_a', 'src_b']);
    expect(await sourcesWithPayments(autocommit(database.pool), 'bus_without')).toEqual([]);
  });
});

describe('the life of a payment', () => {
  const life = (paymentId: string) => paymentLife(autocommit(database.pool), MERCHANT, paymentId);
  const entriesOf = async (paymentId: string) =>
    (await life(paymentId)).map(({ entries }) =>
      entries.map((entry) => `${entry.customerId} ${entry.isCredit ? '+' : '-'}${entry.amountMinor}`),
    );

  /** Writes entries under these keys, each in a moment of its own. */
  async function write(hour: number, ...entries: readonly Parameters<typeof posting>[0][]): Promise<void> {
    await transaction(database.pool, (tx) => postBatch(tx, entries.map(posting), { ...SETTINGS, now: at(hour) }));
  }

  const cause = (paymentId: string) => ({ sourceId: 'src_stripe', kind: 'payment', paymentId }) as const;
  const paid = { state: 'succeeded', purpose: 'topup', currency: 'USD', paidAt: 0, customerId: 'cus_a' } as const;

  it('has an entry that the release before wrote under its own key, and each once where both keys have one', async () => {
    await open({ paymentId: 'p_old' }, { ...paid, amountPaid: 300, postedCredit: 300, postings: 2 }, at(1));
    await write(1, {
      amountMinor: 1000,
      eventType: 'payment',
      idempotencyKey: paymentKey(1, cause('p_old'), 1),
    });
    const second = { amountMinor: 700, isCredit: false, eventType: 'payment_reversal' } as const;
    await write(2, { ...second, idempotencyKey: paymentKey(2, cause('p_old'), 2) });
    await write(3, { amountMinor: 5, idempotencyKey: paymentKey(1, cause('p_old'), 2) });
    expect(await entriesOf('p_old')).toEqual([['cus_a +1000', 'cus_a -700']]);
  });

  it('has none of an entry that was not written, nor of a payment that is nobody’s', async () => {
    await open({ paymentId: 'p_bare' }, { ...paid, amountPaid: 1000, postings: 1 }, at(1));
    await open({ paymentId: 'p_nobody' }, { state: 'pending' }, at(1));
    expect(await entriesOf('p_bare')).toEqual([[]]);
    expect(await entriesOf('p_nobody')).toEqual([[]]);
    expect(await entriesOf('p_unheard')).toEqual([]);
  });

  it('goes on in the wallet that it was moved to, after what was taken for it from the one before', async () => {
    const key = { merchantId: MERCHANT, sourceId: 'src_stripe', paymentId: 'p_moved' };
    await open(key, { ...paid, amountPaid: 900, postedCredit: 900, postings: 1 }, at(4));
    const idempotencyKey = paymentKey(2, cause('p_moved'), 1);
    await write(4, { amountMinor: 900, eventType: 'payment', idempotencyKey });
    const moved = { amountMinor: 900, idempotencyKey: moveKey('src_stripe', 'p_moved', 1) };
    await write(
      5,
      { ...moved, customerId: 'cus_b', eventType: 'payment' },
      { ...moved, isCredit: false, eventType: 'payment_reversal' },
    );
    const move: PaymentMove = {
      ...key,
      ...{ move: 1, fromCustomerId: 'cus_a', toCustomerId: 'cus_b', net: 900, bonus: 0, currency: 'USD', entries: 1 },
      ...{ actor: 'api', reason: 'paid by another', createdAt: at(5) },
    };
    await transaction(database.pool, (tx) => saveMoves(tx, key, [move]));
    expect(await entriesOf('p_moved')).toEqual([['cus_a +900', 'cus_a -900', 'cus_b +900']]);
    expect((await life('p_moved'))[0]).toMatchObject({ payment: { customerId: 'cus_b', moves: 1 }, moves: [move] });
  });

  it('is read by one statement at a time and a look-up a key and owner, whatever it went through', async () => {
    const owners = ['cus_a', 'cus_b'];
    const most = 40;
    for (const sourceId of ['src_stripe', 'src_other']) {
      const key = { merchantId: MERCHANT, sourceId, paymentId: 'p_traveller' };
      await open(key, { ...paid, amountPaid: 900, postedCredit: 900, postings: 1 }, at(7));
      const moves = Array.from({ length: most }, (_, index): PaymentMove => {
        const [fromCustomerId = '', toCustomerId = ''] = index % 2 === 0 ? owners : owners.toReversed();
        return {
          ...{ ...key, move: index + 1, fromCustomerId, toCustomerId, net: 0, bonus: 0, currency: 'USD', entries: 0 },
          ...{ actor: 'api', reason: 'on', createdAt: at(7) },
        };
      });
      await transaction(database.pool, (tx) => saveMoves(tx, key, moves));
    }
    const lookups: number[] = [];
    let under = 0;
    let atOnce = 0;
    const watched = <T>(run: () => Promise<T>) => {
      under += 1;
      atOnce = Math.max(atOnce, under);
      return run().finally(() => {
        under -= 1;
      });
    };
    const db = autocommit(database.pool);
    const lives = await paymentLife(
      {
        query: (text, values) => watched(() => db.query(text, values)),
        queryArrays: (text, values) => {
          if (typeof text !== 'string' && text.name === 'find-entries-by-keys')
            lookups.push(sentArray(values?.find(Buffer.isBuffer)).length);
          return watched(() => db.queryArrays(text, values));
        },
      },
      MERCHANT,
      'p_traveller',
    );
    expect(lives.map(({ moves }) => moves.length)).toEqual([most, most]);
    expect(atOnce).toBe(1);
    // The payment's own entry under two versions of its key at both owners, and each move at the two whom it names.
    expect(lookups).toEqual([2 * 2 + 2 * most, 2 * 2 + 2 * most]);
  });

  it('has a move by which nothing was left to go, without entries of it', async () => {
    const key = { merchantId: MERCHANT, sourceId: 'src_stripe', paymentId: 'p_empty' };
    await open(key, { ...paid, amountPaid: 0 }, at(6));
    const move: PaymentMove = {
      ...key,
      ...{ move: 1, fromCustomerId: 'cus_a', toCustomerId: 'cus_b', net: 0, bonus: 0, currency: 'USD', entries: 0 },
      ...{ actor: 'cli', reason: 'paid by another', createdAt: at(6) },
    };
    await transaction(database.pool, (tx) => saveMoves(tx, key, [move]));
    expect(await life('p_empty')).toMatchObject([{ payment: { customerId: 'cus_b' }, moves: [move], entries: [] }]);
  });
});

describe('what was handled by hand', () => {
  const capture = { kind: 'movement', movement: 'capture', movementId: 'c1', state: 'succeeded' } as const;
  const whose = {
    customer: { id: 'prov_1', email: 'a@example.com', name: 'A' },
    metadata: { wallet_purpose: 'order' },
  };
  const nobody = { customer: { id: null, email: null, name: null }, metadata: {} };
  const openedAt = at(2);

  const handled = (paymentId: string, fact: Fact, more: Partial<NewHandled> = {}): NewHandled => ({
    ...{ merchantId: MERCHANT, sourceId: 'src_stripe', paymentId, eventId: `evt_${paymentId}`, ordinal: 0, fact },
    ...{ intent: null, customerId: null, amountMinor: null, entryId: null, note: null },
    ...more,
  });
  const save = (one: NewHandled, hour = 6) =>
    transaction(database.pool, (tx) => saveHandled(tx, { merchantId: MERCHANT, handled: [one] }, at(hour)));
  const read = async (paymentId: string) =>
    (await readHandled(autocommit(database.pool), [{ merchantId: MERCHANT, sourceId: 'src_stripe', paymentId }])).map(
      (one) => one.handled,
    );

  it.each<[string, Fact, Fact]>([
    ['payment', paymentFact({ ...whose, occurredAt: at(1) }), paymentFact({ ...nobody, occurredAt: at(1) })],
    ['refund', refundFact({ ...whose }), refundFact({ ...nobody })],
    ['dispute', disputeFact({ occurredAt: at(3), openedAt }), disputeFact({ occurredAt: at(3), openedAt })],
    ['dispute_untimed', disputeFact(), disputeFact({ openedAt: null })],
    [
      'movement',
      { ...capture, paymentId: 'p', amountMinor: 5, currency: 'USD', occurredAt: at(1) },
      { ...capture, paymentId: 'p', amountMinor: 5, currency: 'USD', occurredAt: at(1) },
    ],
    [
      'movement_untimed',
      { ...capture, paymentId: 'p', amountMinor: 5, currency: 'USD', occurredAt: null },
      { ...capture, paymentId: 'p', amountMinor: 5, currency: 'USD', occurredAt: null },
    ],
  ])('is kept as it was told, but for whose it is: %s', async (name, fact, kept) => {
    await save(handled(`h_${name}`, fact));
    expect(await read(`h_${name}`)).toEqual([
      {
        ...{ eventId: `evt_h_${name}`, fact: kept, intent: null, handledAt: at(6) },
        ...{ customerId: null, amountMinor: null, entryId: null, note: null },
      },
    ]);
    const { rows } = await database.pool.query('select fact::text from handled_movement where payment_id = $1', [
      `h_${name}`,
    ]);
    expect(JSON.stringify(rows)).not.toContain('example.com');
  });

  it.each([
    ['topup', { purpose: 'topup', creditAmount: 1500 }],
    ['order', { purpose: 'order', creditAmount: null }],
  ] as const)('keeps what the payment was for: %s', async (name, intent) => {
    await save(handled(`i_${name}`, paymentFact(), { intent, amountMinor: 0 }));
    expect(await read(`i_${name}`)).toMatchObject([{ intent, amountMinor: 0 }]);
  });

  it('is replaced by what is said of the same event later', async () => {
    await save(handled('h_again', refundFact()), 6);
    await save(handled('h_again', refundFact(), { amountMinor: 400, customerId: 'cus_a', note: 'by bank' }), 7);
    expect(await read('h_again')).toMatchObject([
      { amountMinor: 400, customerId: 'cus_a', note: 'by bank', handledAt: at(7) },
    ]);
  });

  it('counts no more once its event is opened again, until that is dismissed anew', async () => {
    await save(handled('h_open', refundFact()));
    await save(handled('h_open', disputeFact(), { eventId: 'evt_other' }));
    await transaction(database.pool, (tx) => reopenHandled(tx, MERCHANT, 'evt_h_open'));
    expect(await read('h_open')).toMatchObject([{ eventId: 'evt_other' }]);
    await save(handled('h_open', refundFact()), 8);
    expect((await read('h_open')).map(({ eventId }) => eventId)).toEqual(['evt_other', 'evt_h_open']);
  });
});
