import { expect, it } from 'vitest';
import { isUnavailable } from '../../src/db/sqlstate.ts';
import { transaction } from '../../src/db/transaction.ts';
import { createTestDatabase } from '../support/database.ts';
import { FaultRig, RECOVERY_MS } from '../support/fault-rig.ts';
import { newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { rounds } from '../support/rounds.ts';
import { eventually } from '../support/wait.ts';

/**
 * F6: the server ends every session of web and worker while some are checked out in the middle of a transaction and
 * others idle, again and again under traffic. Both processes live, nobody hears anything worse than 503, no connection
 * is lost to its pool or used again, and all is well by itself.
 */
const POOL_SIZE = 4;
/** An event that was hit in three rounds one after another waits so long for its next try (src/db/queues.ts). */
const BACK_OFF_MS = 16_000;

it('every session of web and worker is ended under traffic: 503 for a moment, and well again', async ({
  onTestFinished,
}) => {
  const rig = await FaultRig.start({ DATABASE_POOL_SIZE: String(POOL_SIZE) });
  onTestFinished(() => rig.close());
  const { traffic, database } = rig;
  const processes = await Promise.all([rig.startWeb(), rig.startWorker()]);
  const customers = await Promise.all(Array.from({ length: 10 }, () => traffic.newCustomer(10_000)));
  const [held = ''] = customers;
  const holder = await database.pool.connect();
  onTestFinished(() => holder.release(true));
  for (let round = 0; round < rounds(5, 30); round += 1) {
    // A posting stands in the middle of its transaction, at this wallet; in the first round, an event does as well.
    await holder.query('begin');
    await holder.query("select 1 from wallet where customer_id = $1 and currency = 'USD' for update", [held]);
    const caught = newDebit(held, 1);
    const answer = traffic.debitOnce(caught);
    await traffic.deliver(paymentEvent(held, 3));
    const caughtOnes = round === 0 ? ['chokin-web', 'chokin-worker'] : ['chokin-web'];
    await eventually('them to wait', async () => {
      const { rows } = await database.pool.query<{ name: string }>(WAITING);
      return caughtOnes.every((name) => rows.some((row) => row.name === name));
    });
    const others = customers
      .slice(1)
      .flatMap((customerId) => [
        traffic.debit(newDebit(customerId, 1)),
        traffic.deliver(paymentEvent(customerId, 2)),
        traffic.call('GET', `/customers/${customerId}/wallets`),
      ]);
    const { rows } = await database.pool.query<{ pid: number }>(TERMINATE);
    const pids = rows.map(({ pid }) => pid);
    expect((await answer).status).toBe(503);
    await holder.query('rollback');
    await Promise.all(others);
    await traffic.debit(caught);
    await eventually(
      'them all to be gone',
      async () => (await database.pool.query(STILL_THERE, [pids])).rowCount === 0,
    );
  }
  expect(new Set(traffic.troubles)).toEqual(new Set([503]));
  expect(processes.map(({ child }) => child.exitCode)).toEqual([null, null]);

  await eventually('web to be ready', async () => (await traffic.call('GET', '/readyz')).status === 200);
  traffic.troubles.length = 0;
  await Promise.all(customers.map((customerId) => traffic.debit(newDebit(customerId, 1))));
  expect(traffic.troubles).toEqual([]);
  await rig.expectAllWell(RECOVERY_MS + BACK_OFF_MS);
  const { rows } = await database.pool.query<{ sessions: number }>(SESSIONS);
  expect(Math.max(...rows.map(({ sessions }) => sessions))).toBeLessThanOrEqual(POOL_SIZE);
}, 180_000);

const OURS = "datname = current_database() and application_name like 'chokin-%'";
const WAITING = `
  select application_name as name from pg_stat_activity
  where ${OURS} and wait_event_type = 'Lock' and query like '%w.alerts_armed%for update of w%'`;
const TERMINATE = `select pid, pg_terminate_backend(pid) from pg_stat_activity where ${OURS}`;
const STILL_THERE = 'select 1 from pg_stat_activity where pid = any ($1)';
const SESSIONS = `
  select application_name, count(*) as sessions from pg_stat_activity
  where ${OURS} and application_name in ('chokin-web', 'chokin-worker') group by 1`;

it('a transaction whose session is ended fails as one that may be repeated, and the pool goes on', async () => {
  const database = await createTestDatabase();
  const work = transaction(database.pool, async (tx) => {
    const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
    await database.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
    await tx.query('select 1');
  });
  const error: unknown = await work.catch((reason: unknown) => reason);
  expect(isUnavailable(error)).toBe(true);
  expect((await database.pool.query('select 1')).rowCount).toBe(1);
  await database.drop();
});
