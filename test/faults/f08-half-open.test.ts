import { expect, it } from 'vitest';
import { FaultRig } from '../support/fault-rig.ts';
import { type Debit, newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { eventually } from '../support/wait.ts';

/**
 * F8: the network to the database falls silent in the middle of the traffic. No connection breaks and none is refused, so
 * only our own time-outs end the waiting: 5 s for a connection, 20 s for a statement (src/db/pool.ts).
 */
const STATEMENT_MS = 20_000;
const CONNECTION_MS = 5_000;
const MARGIN_MS = 2_000;

type End = (rig: FaultRig) => void;
const ENDS: readonly (readonly [string, End])[] = [
  ['stays so for the connections that were open', ({ proxy }) => proxy.forgetFrozen()],
  ['answers everything late', ({ proxy }) => proxy.thaw()],
];

it.concurrent.for(ENDS)(
  'a database that falls silent and then %s: 503 in bounded time, and well again',
  { timeout: 120_000 },
  async ([, end], { onTestFinished }) => {
    const rig = await FaultRig.start();
    onTestFinished(() => rig.close());
    const { traffic, proxy } = rig;
    const processes = await Promise.all([rig.startWeb(), rig.startWorker()]);
    const customerId = await traffic.newCustomer(10_000);
    await traffic.deliver(paymentEvent(customerId, 10));
    await rig.expectAllWell();

    // One debit is written and its answer is lost; four wait behind it, and two come when all is silent.
    const silence = { when: 'after', connection: 'kept', meanwhile: () => proxy.freeze() } as const;
    proxy.arm(1, silence, ({ sql, applicationName }) => sql === 'commit' && applicationName === 'chokin-web');
    const debits = Array.from({ length: 7 }, () => newDebit(customerId, 7));
    const first = debits.slice(0, 5).map((debit) => timed(rig, debit));
    await eventually('the freeze', () => proxy.isFrozen);
    const later = debits.slice(5).map((debit) => timed(rig, debit));
    const event = paymentEvent(customerId, 10);
    expect((await traffic.call('GET', '/healthz')).status).toBe(200);
    await eventually('readiness to notice', async () => (await traffic.call('GET', '/readyz')).status === 503);
    expect(await traffic.deliverOnce(event)).toBe(503);
    for (const { status, ms } of await Promise.all([...first, ...later])) {
      expect(status).toBe(503);
      expect(ms).toBeLessThan(STATEMENT_MS + CONNECTION_MS + MARGIN_MS);
    }

    end(rig);
    const answers = await Promise.all(debits.map((debit) => traffic.debit(debit)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 200, 200, 200, 409]);
    await traffic.deliver(event);
    await rig.expectAllWell();
    expect(processes.map(({ child }) => child.exitCode)).toEqual([null, null]);
  },
);

async function timed({ traffic }: FaultRig, debit: Debit): Promise<{ status: number; ms: number }> {
  const startedAt = performance.now();
  const { status } = await traffic.debitOnce(debit);
  return { status, ms: performance.now() - startedAt };
}
