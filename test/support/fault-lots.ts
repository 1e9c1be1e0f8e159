import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type { WebOperation } from './fault-operations.ts';
import type { FaultRig } from './fault-rig.ts';
import { newDebit } from './fault-traffic.ts';

/** What is done to lots under faults, as fault-operations.ts does it to holds. */

const LATER = '2090-01-31T00:00:00.000Z';

/** A customer with money, whom lots are given. */
async function receiver({ traffic }: FaultRig) {
  const customerId = await traffic.newCustomer(10_000);
  const wallets = `/customers/${customerId}/wallets`;
  const owe = (amount: number) => traffic.owed.set(customerId, (traffic.owed.get(customerId) ?? 0) + amount);
  const credit = (amount: number, terms: object = { kind: 'promo', expires_in_days: 30 }) => {
    const { key } = newDebit(customerId, amount);
    return { amount, currency: 'USD', entry_type: 'credit', ...terms, name: key, idempotency_key: key };
  };
  const post = (body: object) => traffic.call('POST', `${wallets}/ledger-entries`, body);
  /** @returns the path of a new lot */
  const given = async (amount: number, terms?: object): Promise<string> => {
    const body = credit(amount, terms);
    expect((await post(body)).status).toBe(200);
    owe(amount);
    const { body: list } = await traffic.call('GET', `${wallets}/lots?page_size=100`);
    const lot = list.items.find(({ name }: { name: string }) => name === body.name);
    return `${wallets}/lots/${lot.lot_id}`;
  };
  return { customerId, credit, post, given, owe };
}

/** What became of the lots of a name or path, with what entries moved in each. */
async function lotsOf({ database }: FaultRig, customerId: string, by: { name?: string; path?: string }) {
  const { rows } = await database.pool.query(
    `select x.state, x.remaining, (select array_agg(m.amount::int order by m.seq) from lot_movement m
         where m.customer_id = x.customer_id and m.lot_no = x.lot_no) as moved,
       (select count(*)::int from lot_change c where c.customer_id = x.customer_id and c.lot_no = x.lot_no) as changes
     from (select customer_id, lot_no, name, 'open' as state, remaining from lot
       union all select customer_id, lot_no, name, state, 0 from closed_lot) x
     where x.customer_id = $1 and (x.name = $2 or x.lot_no = $3)`,
    [customerId, by.name ?? null, by.path === undefined ? null : Number(/\d+$/.exec(by.path)?.[0])],
  );
  return rows;
}

const giveLot: WebOperation = {
  name: 'give credit that ends',
  statements: 7,
  async prepare(rig, lost) {
    const { customerId, credit, post, owe } = await receiver(rig);
    return async (under) => {
      const body = credit(9);
      const { result: first, hit } = await under(() => post(body));
      expect(first.status).toBe(hit === null ? 200 : lost);
      const isGiven = (await lotsOf(rig, customerId, { name: body.name })).length > 0;
      // As with a debit: COMMIT may be carried out after the look at the lot.
      const { status } = await post(body);
      expect(status).toBe(status === 200 && !isGiven ? 200 : 409);
      owe(9);
      expect(await post(body)).toMatchObject({ status: 409, body: { entry: { amount: 9 } } });
      const lots = await lotsOf(rig, customerId, { name: body.name });
      expect(lots).toEqual([{ state: 'open', remaining: 9, moved: [9], changes: 0 }]);
    };
  },
};

/** Two lots and some of the base. */
const spendLots: WebOperation = {
  name: 'debit over lots',
  statements: 7,
  async prepare(rig, lost) {
    const { traffic } = rig;
    const { customerId, given } = await receiver(rig);
    return async (under) => {
      const lots = [await given(3), await given(4, { kind: 'promo', expires_at: LATER })];
      const one = newDebit(customerId, 9);
      const { result: first, hit } = await under(() => traffic.debitOnce(one));
      expect(first.status).toBe(hit === null ? 200 : lost);
      await traffic.debit(one);
      expect(await traffic.debit(one)).toMatchObject({ status: 409, body: { entry: { amount: 9 } } });
      for (const [index, path] of lots.entries()) {
        const amount = index + 3;
        const drained = { state: 'drained', remaining: 0, moved: [amount, -amount], changes: 0 };
        expect(await lotsOf(rig, customerId, { path })).toEqual([drained]);
      }
    };
  },
};

const voidLot: WebOperation = {
  name: 'void a lot',
  statements: 8,
  async prepare(rig, lost) {
    const { customerId, given, owe } = await receiver(rig);
    return async (under) => {
      const path = await given(6);
      const body = { amount: 2, reason: 'mistake', idempotency_key: newDebit(customerId, 2).key };
      const take = () => rig.traffic.call('POST', `${path}/void`, body);
      const { result: first, hit } = await under(take);
      expect(first.status).toBe(hit === null ? 200 : lost);
      const isVoided = (await lotsOf(rig, customerId, { path }))[0]?.remaining === 4;
      const { status } = await take();
      expect(status).toBe(status === 200 && !isVoided ? 200 : 409);
      expect(await take()).toMatchObject({ status: 409, body: { entry: { amount: 2, event_type: 'credit_voided' } } });
      const left = { state: 'open', remaining: 4, moved: [6, -2], changes: 0 };
      expect(await lotsOf(rig, customerId, { path })).toEqual([left]);
      owe(-2);
      // Else the wallet has a hundred open lots at last.
      await rig.traffic.call('POST', `${path}/void`, { reason: 'rest', idempotency_key: newDebit(customerId, 4).key });
      owe(-4);
    };
  },
};

const changeLot: WebOperation = {
  name: 'change the end of a lot',
  statements: 7,
  async prepare(rig, lost) {
    const { customerId, given } = await receiver(rig);
    return async (under) => {
      const path = await given(5);
      const change = () => rig.traffic.call('PATCH', path, { expires_at: LATER, reason: 'asked for it' });
      const { result: first, hit } = await under(change);
      expect(first.status).toBe(hit === null ? 200 : lost);
      expect(await change()).toMatchObject({ status: 200, body: { expires_at: LATER, remaining: 5 } });
      expect(await lotsOf(rig, customerId, { path })).toEqual([
        { state: 'open', remaining: 5, moved: [5], changes: 1 },
      ]);
    };
  },
};

/** Beside WEB_OPERATIONS. */
export const LOT_OPERATIONS: readonly WebOperation[] = [giveLot, spendLots, voidLot, changeLot];

const LIFE_MS = 100;
const LEFT = 8;

/** A customer with credit that has ended, which no request has looked at since. */
export async function customerWithOverdueLot(rig: FaultRig): Promise<string> {
  const { customerId, credit, post } = await receiver(rig);
  const end = Date.now() + LIFE_MS;
  const answer = await post(credit(LEFT, { kind: 'promo', expires_at: new Date(end).toISOString() }));
  expect(answer.status).toBe(200);
  // The end is a time, which no signal tells of.
  await delay(end - Date.now() + 1);
  return customerId;
}

/** The credit is gone by one entry and was told of once, and the wallet is on no list any more. */
export async function expectLotExpiredOnce({ database }: FaultRig, customerId: string): Promise<void> {
  const { rows } = await database.pool.query(
    `select w.balance, w.in_lots, w.open_lots,
       (select array_agg(state) from closed_lot c where c.customer_id = w.customer_id) as closed,
       (select array_agg(amount::int) from entry e where e.customer_id = w.customer_id and event_type = 'credit_expired') as expired,
       (select count(*)::int from wallet_alert a where a.customer_id = w.customer_id and kind = 'credit_expired') as told,
       (select count(*)::int from wallet_due d where d.customer_id = w.customer_id) as listed
     from wallet w where w.customer_id = $1 and w.currency = 'USD'`,
    [customerId],
  );
  const gone = { balance: 10_000, in_lots: 0, open_lots: 0, closed: ['expired'], expired: [LEFT], told: 1, listed: 0 };
  expect(rows).toEqual([gone]);
}
