import { afterAll, beforeAll, expect, it } from 'vitest';
import { IS_JOB_OF_EVENT } from '../support/fault-operations.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { paymentEvent, type TrafficEvent } from '../support/fault-traffic.ts';
import { rounds } from '../support/rounds.ts';
import { signStripe } from '../support/signing.ts';
import { WebFleet } from '../support/web-fleet.ts';

/**
 * F14: a provider delivers one event 500 times at once, over several web processes, while a worker runs. Every
 * delivery is answered 2xx, and there is one event, one job and one credit.
 */
const DELIVERIES = 500;
const PROCESSES = 3;

let rig: FaultRig;
let fleet: WebFleet;

beforeAll(async () => {
  rig = await FaultRig.start();
  [fleet] = await Promise.all([WebFleet.start(rig, PROCESSES, DELIVERIES), rig.startWebHere(), rig.startWorker()]);
});

afterAll(async () => {
  await rig.expectAllWell();
  await fleet.close();
  await rig.close();
});

it('the same event 500 times at once over three web processes credits once', { timeout: 120_000 }, async () => {
  const customerId = await rig.traffic.newCustomer();
  const events: TrafficEvent[] = [];
  for (let round = 0; round < rounds(3, 60); round += 1) {
    const event = paymentEvent(customerId, 100 + round);
    events.push(event);
    expect(await statusesOfAll(event)).toEqual(new Map([[200, DELIVERIES]]));
    // By now a process that took none of them knows it, too; and from here on its credit is owed.
    expect(await rig.traffic.deliverOnce(event)).toBe(200);
  }
  await rig.expectAllWell();
  for (const { eventId } of events) {
    const counts = [EVENTS, JOBS, ENTRIES].map(async (text) => {
      const { rows } = await rig.database.pool.query<{ count: number }>(text, [eventId]);
      return rows[0]?.count;
    });
    expect(await Promise.all(counts)).toEqual([1, 1, 1]);
  }
});

/** How often each status was the answer. */
async function statusesOfAll({ body }: TrafficEvent): Promise<Map<number, number>> {
  const request = { method: 'POST', path: '/webhooks/stripe', body, headers: signStripe(body) } as const;
  const answers = await Promise.all(Array.from({ length: DELIVERIES }, (_, index) => fleet.ask(index, request)));
  return new Map([...Map.groupBy(answers, ({ status }) => status)].map(([status, all]) => [status, all.length]));
}

const EVENTS = 'select count(*)::int as count from provider_event e where e.delivery_key = $1';

/** Jobs that are done stay in their table for ten minutes. */
const JOBS = `
  select count(*)::int as count from provider_event e join pgboss.job j on ${IS_JOB_OF_EVENT} where e.delivery_key = $1`;

const ENTRIES = `
  select count(*)::int as count from provider_event e join payment p using (merchant_id, source_id, payment_id)
  join entry n on n.merchant_id = p.merchant_id and n.customer_id = p.customer_id and n.reference_object_id = p.payment_id
  where e.delivery_key = $1`;
