import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPaymentToken } from '../../src/customers/payment-tokens.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { eventsOfPayment } from '../../src/inbox/events.ts';
import type { PlaceHold } from '../../src/ledger/holds/hold.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { requestTopUp } from '../../src/top-ups/manage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { BONUS_RATIO, expectBooksToAgree, MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';
import { type AdyenItem, adyenDelivery } from '../support/signing-paypal-adyen-cashfree.ts';

/*
 * Several facts in one event count as they would in events of their own, one after another. Adyen's deliveries hold several items;
 * an event that names a group at Stripe is news of each of its payments.
 */

const DAY = 86_400_000;
const adyen = testSource('adyen', { metadata: 'all' });
const payers = testSource('adyen', { sourceId: 'src_payers', metadata: 'customer' });

let database: TestDatabase;
let inbox: TestInbox;
/** How far the service's clock is ahead. */
let ahead = 0;
const clock = { now: () => new Date(Date.now() + ahead) };

beforeAll(async () => {
  database = await createTestDatabase(30);
  inbox = await startInbox(database, { sources: [adyen, payers], clock });
});
beforeEach(() => {
  ahead = 0;
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

let number = 0;

async function newPayer(): Promise<Payer> {
  number += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`several${number}`]);
  return { customerId, id: `SEVERAL${number}` };
}

interface Payer {
  readonly customerId: string;
  readonly id: string;
}

/** Items in one delivery. */
const tell = (items: readonly AdyenItem[], source = adyen) =>
  inbox.play(
    [adyenDelivery(items.map((item) => ({ currency: 'USD', merchantAccountCode: source.sourceId, ...item })))],
    source,
  );

const paid = ({ customerId, id }: Payer, value: number, terms = ''): AdyenItem => ({
  ...{ eventCode: 'AUTHORISATION', pspReference: id, value },
  merchantReference: `wallet_customer_id=${customerId}${terms}`,
});
const PACK = '&wallet_bonus_amount=1000&wallet_bonus_expires_in_days=90';
const of = ({ id }: Payer, eventCode: string, value: number, own = `${eventCode}${id}`): AdyenItem => ({
  ...{ eventCode, pspReference: own, originalReference: id, merchantReference: 'order-1', value },
});
const claimed = (payer: Payer, value: number) => of(payer, 'NOTIFICATION_OF_CHARGEBACK', value, `DISPUTE${payer.id}`);
const won = (payer: Payer, value: number) => of(payer, 'CHARGEBACK_REVERSED', value, `DISPUTE${payer.id}`);

async function walletOf({ customerId }: Payer) {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  const wallet = wallets.find(({ currency }) => currency === 'USD');
  return { balance: wallet?.balance, inLots: wallet?.inLots, held: wallet?.held };
}

async function entriesOf({ customerId }: Payer): Promise<string> {
  const { rows } = await database.pool.query<{ text: string }>(
    `select string_agg(case when is_credit then '+' else '-' end || amount || ' ' || event_type, ', ' order by seq) as text
     from entry where customer_id = $1 and event_type <> 'merchant_adjustment'`,
    [customerId],
  );
  return rows[0]?.text ?? '';
}

async function parked({ id }: Payer, { sourceId } = adyen): Promise<readonly (string | null)[]> {
  const key = { merchantId: MERCHANT, sourceId, paymentId: id, groupId: null };
  const events = await eventsOfPayment(autocommit(database.pool), key);
  return events.filter(({ state }) => state !== 'applied').map(({ state, reason }) => reason ?? state);
}

describe.each([
  [
    'in events of their own',
    async (items: readonly AdyenItem[]) => {
      for (const item of items) await tell([item]);
    },
  ],
  ['in one event', (items: readonly AdyenItem[]) => tell(items)],
] as const)('a bonus that a hold kept, and what is told of its payment %s', (_, tellAll) => {
  const ONCE = '-1000 credit_expired, -9000 payment_reversal';

  it('is not taken back as well once a dispute that is won lets go of it', async () => {
    const payer = await newPayer();
    await tell([paid(payer, 9000, PACK)]);
    await tell([claimed(payer, 9000)]);
    expect(await walletOf(payer)).toEqual({ balance: 10_000, inLots: 1000, held: 10_000 });
    ahead = 100 * DAY;
    await tellAll([won(payer, 9000), of(payer, 'REFUND', 9000)]);
    expect(await entriesOf(payer)).toBe(`+9000 payment, +1000 bonus, ${ONCE}`);
    expect(await walletOf(payer)).toEqual({ balance: 0, inLots: 0, held: 0 });
  });

  it('is not taken back as well once the dispute of another payment lets go of it', async () => {
    const payer = await newPayer();
    const other = { ...payer, id: `${payer.id}OTHER` };
    await tell([paid(payer, 9000, PACK)]);
    await tell([paid(other, 2000)]);
    await tell([claimed(payer, 9000)]);
    await tell([claimed(other, 2000)]);
    ahead = 100 * DAY;
    await tellAll([won(other, 2000), of(payer, 'REFUND', 9000)]);
    expect(await entriesOf(payer)).toBe(`+9000 payment, +1000 bonus, +2000 payment, ${ONCE}`);
    expect((await walletOf(payer)).balance).toBe(2000);
  });

  it('is not taken back as well once new credit lets go of it', async () => {
    const payer = await newPayer();
    const other = { ...payer, id: `${payer.id}OTHER` };
    await tell([paid(payer, 9000, PACK)]);
    ahead = 89 * DAY;
    const place: PlaceHold = {
      ...{ op: 'place', merchantId: MERCHANT, customerId: payer.customerId, currency: 'USD', amountMinor: 10_000 },
      ...{ expiresInSeconds: 604_800, partial: false, reason: null, referenceObjectId: null, metadata: null },
      idempotencyKey: 'job',
    };
    await transaction(database.pool, (tx) => postBatch(tx, [place], { ...SETTINGS, now: clock.now() }));
    ahead = 92 * DAY;
    await tellAll([paid(other, 5000), of(payer, 'REFUND', 9000)]);
    expect(await entriesOf(payer)).toBe(
      '+9000 payment, +1000 bonus, +5000 payment, -1000 credit_expired, -9000 payment_reversal',
    );
    expect((await walletOf(payer)).balance).toBe(5000);
  });

  it('counts once for each of two payments whose bonuses are over', async () => {
    const payer = await newPayer();
    const other = { ...payer, id: `${payer.id}OTHER` };
    await tell([paid(payer, 9000, PACK)]);
    await tell([paid(other, 9000, PACK)]);
    await tell([claimed(payer, 9000)]);
    await tell([claimed(other, 9000)]);
    ahead = 100 * DAY;
    await tellAll([
      won(payer, 9000),
      of(payer, 'REFUND', 4500),
      won(other, 9000),
      of(other, 'REFUND', 9000),
      of(payer, 'REFUND', 4500, `SECOND${payer.id}`),
    ]);
    expect(await walletOf(payer)).toEqual({ balance: 0, inLots: 0, held: 0 });
  });
});

it('what was written for the first facts of an event is undone where a later one cannot be applied', async () => {
  const payer = await newPayer();
  await tell([paid(payer, 9000, PACK)]);
  await tell([claimed(payer, 9000)]);
  ahead = 100 * DAY;
  const before = await walletOf(payer);
  await tell([won(payer, 9000), of(payer, 'REFUND', 4500), { ...of(payer, 'REFUND', 4500, 'EUROS'), currency: 'EUR' }]);
  expect(await parked(payer)).toEqual(['currency_mismatch']);
  expect(await entriesOf(payer)).toBe('+9000 payment, +1000 bonus');
  expect(await walletOf(payer)).toEqual(before);
  await tell([won(payer, 9000)]);
  expect(await entriesOf(payer)).toBe('+9000 payment, +1000 bonus, -1000 credit_expired');
});

describe('two payments in one event', () => {
  it('use a token once', async () => {
    const payer = await newPayer();
    const rules = { currencies: SETTINGS.currencies, maxBonusRatio: BONUS_RATIO, now: clock.now() };
    const request = {
      ...({ merchantId: MERCHANT, customerId: payer.customerId, purpose: 'topup', currency: 'USD' } as const),
      ...{ amount: 1000, creditAmount: 1500, expiresInSeconds: 3600 },
    };
    const { token } = await transaction(database.pool, (tx) => createPaymentToken(tx, request, rules));
    const pay = (id: string) => ({ ...paid({ ...payer, id }, 1000), merchantReference: token });
    await tell([pay(payer.id), pay(`${payer.id}AGAIN`)], payers);
    expect(await entriesOf(payer)).toBe('');
    expect(await parked(payer, payers)).toEqual(['token_used']);
    // Nothing of it has used the token.
    await tell([pay(`${payer.id}LATER`)], payers);
    expect(await entriesOf(payer)).toBe('+1000 payment, +500 bonus');
  });

  it('pay a top-up once', async () => {
    const payer = await newPayer();
    const moment = { currencies: SETTINGS.currencies, now: clock.now() };
    const { customerId } = payer;
    const request = {
      merchantId: MERCHANT,
      customerId,
      currency: 'USD',
      amount: 1000,
      idempotencyKey: 'k',
      session: null,
    };
    const { topUp } = await transaction(database.pool, (tx) => requestTopUp(tx, request, moment));
    const terms = `&wallet_topup_id=${topUp.topUpId}`;
    await tell([paid(payer, 1000, terms), paid({ ...payer, id: `${payer.id}AGAIN` }, 1000, terms)], payers);
    expect(await entriesOf(payer)).toBe('');
    expect(await parked(payer, payers)).toEqual(['topup_paid_twice']);
    await tell([paid({ ...payer, id: `${payer.id}LATER` }, 1000, terms)], payers);
    expect(await entriesOf(payer)).toBe('+1000 payment');
  });
});
