import { expect } from 'vitest';
import type { WebOperation } from './fault-operations.ts';
import type { FaultRig } from './fault-rig.ts';
import { newDebit } from './fault-traffic.ts';

/** What is written at times to come, under faults, as fault-operations.ts does it to holds. */

const TOMORROW = new Date(Date.now() + 86_400_000).toISOString();

const owe = ({ traffic }: FaultRig, customerId: string, amount: number) =>
  traffic.owed.set(customerId, (traffic.owed.get(customerId) ?? 0) + amount);

const schedule: WebOperation = {
  name: 'schedule an entry',
  statements: 4,
  async prepare({ traffic, database }, lost) {
    const customerId = await traffic.newCustomer();
    return async (under) => {
      const { key } = newDebit(customerId, 9);
      const body = { amount: 9, currency: 'USD', entry_type: 'credit', post_at: TOMORROW, idempotency_key: key };
      const post = () => traffic.call('POST', `/customers/${customerId}/wallets/scheduled-entries`, body);
      const { result: first, hit } = await under(post);
      expect(first.status).toBe(hit === null ? 200 : lost);
      await post();
      expect(await post()).toMatchObject({
        status: 409,
        body: { scheduled_entry: { status: 'scheduled', amount: 9 } },
      });
      const { rows } = await database.pool.query('select 1 from scheduled_entry where idempotency_key = $1', [
        `api:${key}`,
      ]);
      expect(rows).toHaveLength(1);
    };
  },
};

/** A period is due, and is granted with the amount that it had. */
const change: WebOperation = {
  name: 'change a grant schedule of which a period is due',
  statements: 10,
  async prepare(rig, lost) {
    const { traffic } = rig;
    return async (under) => {
      const customerId = await customerWithDueGrant(rig);
      const put = () => traffic.call('PUT', pathOf(customerId), { amount: 1, every: 'year' });
      const { result: first, hit } = await under(put);
      expect(first.status).toBe(hit === null ? 200 : lost);
      expect(await put()).toMatchObject({ status: 200, body: { amount: 1, next_period: 1 } });
      await expectGrantedOnce(rig, customerId);
    };
  },
};

/** Either it is called off and told of once, or it was begun before by a worker, once. */
const callOff: WebOperation = {
  name: 'end a schedule that charges, of which a period is due',
  statements: 6,
  async prepare({ traffic, database }, lost) {
    return async (under) => {
      const customerId = await traffic.newCustomer();
      const rule = {
        ...{ enabled: true, threshold: 0, mode: 'amount', amount: 5, monthly_cap: 100, payment: null },
        consent: { accepted_at: '2026-01-31T12:00:00Z', text_version: '1' },
      };
      const ruled = await traffic.call('PUT', `/customers/${customerId}/wallets/USD/top-up-rule`, rule);
      expect(ruled.status).toBe(200);
      const body = { amount: 5, every: 'year', anchor_at: TOMORROW, charge: true };
      expect((await traffic.call('PUT', pathOf(customerId), body)).status).toBe(200);
      await makeDue(database.pool, customerId);
      const end = () => traffic.call('DELETE', pathOf(customerId));
      const { result: first, hit } = await under(end);
      expect(first.status).toBe(hit === null ? 200 : lost);
      expect(await end()).toMatchObject({ status: 200, body: { status: 'ended', next_period: 1 } });
      const { rows } = await database.pool.query(
        `select (select count(*)::int from wallet_alert a where a.customer_id = $1 and kind = 'grant_skipped') as told,
           (select count(*)::int from topup t where t.customer_id = $1) as begun`,
        [customerId],
      );
      expect(rows.map(({ told, begun }) => told + begun)).toEqual([1]);
    };
  },
};

export const SCHEDULE_OPERATIONS: readonly WebOperation[] = [schedule, change, callOff];

async function makeDue(pool: FaultRig['database']['pool'], customerId: string): Promise<void> {
  const past = "date_trunc('milliseconds', now() - interval '1 minute')";
  await pool.query(`update grant_schedule set anchor_at = ${past}, next_at = ${past} where customer_id = $1`, [
    customerId,
  ]);
}

const pathOf = (customerId: string) => `/customers/${customerId}/wallets/USD/grant-schedules/yearly`;

/** A customer with a grant schedule of 5, whose first period has just become due. */
export async function customerWithDueGrant(rig: FaultRig): Promise<string> {
  const { traffic, database } = rig;
  const customerId = await traffic.newCustomer();
  const body = { amount: 5, every: 'year', anchor_at: TOMORROW };
  expect((await traffic.call('PUT', pathOf(customerId), body)).status).toBe(200);
  await makeDue(database.pool, customerId);
  owe(rig, customerId, 5);
  return customerId;
}

/** The period was granted once, and its schedule has settled it. */
export async function expectGrantedOnce({ database }: FaultRig, customerId: string): Promise<void> {
  const { rows } = await database.pool.query(
    `select s.done, (select array_agg(e.amount::int) from entry e where e.customer_id = s.customer_id) as amounts,
       (select count(*)::int from lot l where l.customer_id = s.customer_id) as lots
     from grant_schedule s where s.customer_id = $1`,
    [customerId],
  );
  expect(rows).toEqual([{ done: 1, amounts: [5], lots: 1 }]);
}

/** A customer with a scheduled credit of 7 that has just become due, and a debit that he cannot pay. */
export async function customerWithDueEntries(rig: FaultRig): Promise<string> {
  const { traffic, database } = rig;
  const customerId = await traffic.newCustomer();
  const path = `/customers/${customerId}/wallets/scheduled-entries`;
  for (const [amount, entry_type] of [
    [7, 'credit'],
    [100, 'debit'],
  ] as const) {
    const { key } = newDebit(customerId, amount);
    const body = { amount, currency: 'USD', entry_type, post_at: TOMORROW, idempotency_key: key };
    expect((await traffic.call('POST', path, body)).status).toBe(200);
  }
  const past = "now() - interval '1 minute'";
  await database.pool.query(`update scheduled_entry set post_at = ${past}, due_at = ${past} where customer_id = $1`, [
    customerId,
  ]);
  owe(rig, customerId, 7);
  return customerId;
}

/** The credit was posted once, and of the debit it was told once. */
export async function expectPostedOnce({ database }: FaultRig, customerId: string): Promise<void> {
  const { rows } = await database.pool.query(
    `select array_agg(s.state order by s.amount) as states,
       (select array_agg(e.amount::int) from entry e where e.customer_id = $1) as amounts,
       (select count(*)::int from wallet_alert a where a.customer_id = $1 and kind = 'scheduled_entry_skipped') as told
     from scheduled_entry s where s.customer_id = $1`,
    [customerId],
  );
  expect(rows).toEqual([{ states: ['posted', 'skipped'], amounts: [7], told: 1 }]);
}
