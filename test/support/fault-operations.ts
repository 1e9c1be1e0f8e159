import { expect } from 'vitest';
import { batcherOf } from '../../src/ledger/batches.ts';
import type { FaultRig } from './fault-rig.ts';
import { type Debit, newDebit, paymentEvent, type TrafficEvent } from './fault-traffic.ts';
import type { ProxiedStatement, UnderFault } from './statement-proxy.ts';

/** A request to web that is made under a fault and then again, with everything that must hold afterwards. */
export interface WebOperation {
  readonly name: string;
  /** It has at least so many statements. If a test sees fewer, it does not see what it should test. */
  readonly statements: number;
  /** Makes what one attempt after the other needs. `lost` is the status that a caller sees when the fault strikes. */
  prepare(rig: FaultRig, lost: 0 | 200 | 503): Promise<(under: UnderFault) => Promise<void>>;
}

/** The statements a caller waits for; nobody waits for the note of when an API key was last used. */
export function isOfWeb({ applicationName, sql }: ProxiedStatement): boolean {
  return applicationName === 'chokin-web' && !sql.includes('last_used_at');
}

const receive: WebOperation = {
  name: 'receive a delivery',
  statements: 4,
  async prepare({ traffic, database }, lost) {
    const customerId = await traffic.newCustomer();
    return async (under) => {
      const event = paymentEvent(customerId, 10);
      const { result: status, hit } = await under(() => traffic.deliverOnce(event));
      expect(status).toBe(hit === null ? 200 : lost);
      await traffic.deliver(event);
      const { rows } = await database.pool.query(EVENTS_AND_JOBS, [event.eventId]);
      expect(rows).toEqual([{ events: 1, jobs: 1 }]);
    };
  },
};

/** SQL for whether the job `j` applies the event `e`, alone or among others. */
export const IS_JOB_OF_EVENT = `(
    (j.name = 'apply-provider-event' and j.data ->> 'eventId' = e.event_id)
    or (j.name = 'apply-provider-events' and jsonb_path_exists(j.data, 'strict $.events[*] ? (@[1] == $id)', jsonb_build_object('id', e.event_id), true)))`;

const EVENTS_AND_JOBS = `
  select count(distinct e.event_id) as events, count(j.id) as jobs
  from provider_event e left join pgboss.job j on ${IS_JOB_OF_EVENT}
  where e.delivery_key = $1`;

const debit: WebOperation = {
  name: 'debit',
  statements: 5,
  async prepare(rig, lost) {
    const { traffic } = rig;
    const customerId = await traffic.newCustomer(10_000);
    return async (under) => {
      const one = newDebit(customerId, 7);
      const { result: first, hit } = await under(() => traffic.debitOnce(one));
      expect(first.status).toBe(hit === null ? 200 : lost);
      const [written] = await entriesOf(rig, [one]);
      const again = await traffic.debit(one);
      // COMMIT leaves with the write, so it may be carried out after the line was cut, and after the look at the entries.
      expect(again.status).toBe(again.status === 200 && written === undefined ? 200 : 409);
      const { body } = await traffic.debit(one);
      const entries = await entriesOf(rig, [one]);
      expect(entries).toHaveLength(1);
      expect(body).toMatchObject({ code: 'IDEMPOTENCY_KEY_EXISTS', entry: { amount: 7, seq: entries[0]?.seq } });
      if (again.status === 409) expect(again.body).toEqual(body);
    };
  },
};

/** Four wallets over both batchers, each debited twice: two transactions at once, of which the fault hits one. */
const batch: WebOperation = {
  name: 'batch of debits',
  statements: 8,
  async prepare(rig) {
    const { traffic } = rig;
    const customers = await customersOfBothBatchers(rig);
    return async (under) => {
      const debits = customers.flatMap((customerId) => [newDebit(customerId, 3), newDebit(customerId, 4)]);
      const { result: first } = await under(() => traffic.debitBatchOnce(debits));
      const written = new Set((await entriesOf(rig, debits)).map(({ key }) => key));
      for (const [index, { key }] of debits.entries()) if (first[index]?.status === 200) expect(written).toContain(key);
      const again = await traffic.debitBatchOnce(debits);
      // As with one debit: what was not there yet may have been written before it was tried again.
      for (const [index, { key }] of debits.entries()) {
        const { status } = again[index] ?? {};
        expect(status).toBe(status === 200 && !written.has(key) ? 200 : 409);
      }
      expect(await entriesOf(rig, debits)).toHaveLength(debits.length);
    };
  },
};

/** Two customers of each batcher; the customer's id decides which batcher it is. */
async function customersOfBothBatchers({ traffic }: FaultRig): Promise<readonly string[]> {
  const byBatcher: Record<number, string[]> = { 0: [], 1: [] };
  while (Object.values(byBatcher).some((customers) => customers.length < 2)) {
    const customerId = await traffic.newCustomer(10_000);
    byBatcher[batcherOf(customerId)]?.push(customerId);
  }
  return Object.values(byBatcher).flatMap((customers) => customers.slice(0, 2));
}

async function entriesOf({ database }: FaultRig, debits: readonly Debit[]): Promise<{ seq: number; key: string }[]> {
  const { rows } = await database.pool.query<{ seq: number; key: string }>(
    `select seq, k.key from entry e join unnest($1::text[]) as k (key) on e.idempotency_key = 'api:' || k.key order by seq`,
    [debits.map(({ key }) => key)],
  );
  return rows;
}

/** What a customer's newest hold is, and what was captured of it. */
async function newestHold({ database }: FaultRig, customerId: string) {
  const { rows } = await database.pool.query<{ holds: number; state: string; captured: number; entries: number }>(
    `select w.hold_seq as holds, coalesce(c.state, 'open') as state, coalesce(c.captured, h.captured) as captured,
       (select count(*)::int from hold_capture k where k.customer_id = w.customer_id and k.hold_no = w.hold_seq) as entries
     from wallet w
     left join hold h on h.customer_id = w.customer_id and h.hold_no = w.hold_seq
     left join closed_hold c on c.customer_id = w.customer_id and c.hold_no = w.hold_seq
     where w.customer_id = $1 and w.currency = 'USD'`,
    [customerId],
  );
  return rows[0];
}

const HELD = 20;

/** A customer with money, and the path of his holds. */
async function holder({ traffic }: FaultRig) {
  const customerId = await traffic.newCustomer(10_000);
  const path = `/customers/${customerId}/wallets/holds`;
  const request = () => ({ amount: HELD, currency: 'USD', idempotency_key: newDebit(customerId, HELD).key });
  const place = (body = request()) => traffic.call('POST', path, body);
  const placed = async () => `${path}/${(await place()).body.hold_id}`;
  return { customerId, request, place, placed };
}

const placeHold: WebOperation = {
  name: 'place a hold',
  statements: 5,
  async prepare(rig, lost) {
    const { customerId, request, place } = await holder(rig);
    return async (under) => {
      const before = (await newestHold(rig, customerId))?.holds ?? 0;
      const body = request();
      const { result: first, hit } = await under(() => place(body));
      expect(first.status).toBe(hit === null ? 200 : lost);
      const isPlaced = ((await newestHold(rig, customerId))?.holds ?? 0) > before;
      // As with a debit: COMMIT may be carried out after the look at the hold.
      const { status } = await place(body);
      expect(status).toBe(status === 200 && !isPlaced ? 200 : 409);
      const again = await place(body);
      expect(again).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_KEY_EXISTS', hold: { status: 'open' } } });
      expect(await newestHold(rig, customerId)).toMatchObject({ holds: before + 1, captured: 0 });
    };
  },
};

const captureHold: WebOperation = {
  name: 'capture a hold',
  statements: 6,
  async prepare(rig, lost) {
    const { traffic } = rig;
    const { customerId, placed } = await holder(rig);
    return async (under) => {
      const path = `${await placed()}/capture`;
      const body = { amount: 7, idempotency_key: newDebit(customerId, 7).key };
      const capture = () => traffic.call('POST', path, body);
      const { result: first, hit } = await under(capture);
      expect(first.status).toBe(hit === null ? 200 : lost);
      const isCaptured = (await newestHold(rig, customerId))?.state === 'captured';
      const { status } = await capture();
      expect(status).toBe(status === 200 && !isCaptured ? 200 : 409);
      const again = await capture();
      expect(again).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_KEY_EXISTS', entry: { amount: 7 } } });
      expect(await newestHold(rig, customerId)).toMatchObject({ state: 'captured', captured: 7, entries: 1 });
      traffic.owed.set(customerId, (traffic.owed.get(customerId) ?? 0) - 7);
    };
  },
};

const releaseHold: WebOperation = {
  name: 'release a hold',
  statements: 5,
  async prepare(rig, lost) {
    const { traffic } = rig;
    const { customerId, placed } = await holder(rig);
    return async (under) => {
      const path = `${await placed()}/release`;
      const release = () => traffic.call('POST', path, {});
      const { result: first, hit } = await under(release);
      expect(first.status).toBe(hit === null ? 200 : lost);
      expect(await release()).toMatchObject({ status: 200, body: { status: 'released', released: HELD } });
      expect(await newestHold(rig, customerId)).toMatchObject({ state: 'released', captured: 0, entries: 0 });
    };
  },
};

/** The operations that F2, F3 and F4 test. */
export const WEB_OPERATIONS: readonly WebOperation[] = [receive, debit, batch, placeHold, captureHold, releaseHold];

/** A customer with an open hold whose end has passed, which no request has ended yet. */
export async function customerWithOverdueHold(rig: FaultRig): Promise<string> {
  const { customerId, place } = await holder(rig);
  expect((await place()).status).toBe(200);
  const { pool } = rig.database;
  const past = "now() - interval '1 minute'";
  await pool.query(
    `update hold set created_at = (created_at at time zone 'UTC' - interval '1 hour') at time zone 'UTC', expires_at = ${past} where customer_id = $1`,
    [customerId],
  );
  for (const table of ['wallet', 'wallet_due'])
    await pool.query(`update ${table} set due_at = ${past} where customer_id = $1 and currency = 'USD'`, [customerId]);
  return customerId;
}

/** The hold has ended and was told of once, and the wallet is on no list any more. */
export async function expectExpiredOnce({ database }: FaultRig, customerId: string): Promise<void> {
  const { rows } = await database.pool.query(
    `select w.held, (select count(*)::int from hold h where h.customer_id = w.customer_id) as open,
       (select array_agg(state) from closed_hold c where c.customer_id = w.customer_id) as closed,
       (select count(*)::int from wallet_alert a where a.customer_id = w.customer_id and kind = 'hold_expired') as told,
       (select count(*)::int from wallet_due d where d.customer_id = w.customer_id) as listed
     from wallet w where w.customer_id = $1 and w.currency = 'USD'`,
    [customerId],
  );
  expect(rows).toEqual([{ held: 0, open: 0, closed: ['expired'], told: 1, listed: 0 }]);
}

/** The event is applied and no job of it is due; that its payment has the entries it should, the audit sees. */
export async function expectApplied({ database }: FaultRig, { eventId }: TrafficEvent): Promise<void> {
  const { rows } = await database.pool.query(
    `select e.state, count(j.id) as jobs
     from provider_event e left join pgboss.job j on ${IS_JOB_OF_EVENT}
       and j.state <> 'completed' and j.start_after <= now()
     where e.delivery_key = $1 group by 1`,
    [eventId],
  );
  expect(rows).toEqual([{ state: 'applied', jobs: 0 }]);
}

/** The messages of the embedded sender tell of every entry of the customer, and of each in one message. */
export async function expectToldOnce({ database }: FaultRig, customerId: string): Promise<void> {
  const { rows } = await database.pool.query<{ payload: string }>(
    "select payload from webhook_message where event_type = 'wallet.balance.changed' and payload like '%' || $1 || '%'",
    [customerId],
  );
  const told = rows.flatMap(({ payload }) => JSON.parse(payload).data.entries.map((entry: { id: string }) => entry.id));
  const { rows: entries } = await database.pool.query('select 1 from entry where customer_id = $1', [customerId]);
  expect(told).toHaveLength(entries.length);
  expect(new Set(told).size).toBe(entries.length);
}
