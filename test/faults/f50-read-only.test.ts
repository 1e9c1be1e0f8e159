import { expect, it } from 'vitest';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { rounds } from '../support/rounds.ts';
import { eventually } from '../support/wait.ts';

/**
 * F50: a failover in which new sessions land on a server that only reads, as the old primary or a standby does, under traffic. Nobody
 * hears anything worse than 503, the processes say that they are not ready and why, and no session that was opened meanwhile is used
 * once the database writes again.
 */
const OURS = "datname = current_database() and application_name like 'chokin-%'";
const END_SESSIONS = `select pg_terminate_backend(pid) from pg_stat_activity where ${OURS}`;
/** Within so long a pool has healed. */
const HEALED_MS = 5_000;
/** So many that every caller and every connection of the pool had its turn. */
const REFUSALS = 60;

it('a database that only reads for a while under traffic: 503 and not ready meanwhile, and well again at once', async ({
  onTestFinished,
}) => {
  const rig = await FaultRig.start();
  onTestFinished(() => rig.close());
  const { traffic, database } = rig;
  const onDatabase = (what: string) =>
    database.pool.query(`do $$ begin execute format('alter database %I ${what}', current_database()); end $$`);
  await Promise.all([rig.startWeb(), rig.startWorker()]);
  const customers = await Promise.all(Array.from({ length: 10 }, () => traffic.newCustomer(10_000)));
  const everybody = (): Promise<unknown>[] =>
    customers.flatMap((customerId) => [
      traffic.debit(newDebit(customerId, 1)),
      traffic.deliver(paymentEvent(customerId, 2)),
    ]);

  for (let round = 0; round < rounds(1, 5); round += 1) {
    await onDatabase('set default_transaction_read_only = on');
    await database.pool.query(END_SESSIONS);
    const meanwhile = everybody();
    await eventually('readiness to say why', async () => {
      const { status, body } = await traffic.call('GET', '/readyz');
      return status === 503 && String(body?.message).includes('only reads');
    });
    // Reads are refused too: what a standby says may be of yesterday.
    expect((await traffic.call('GET', `/customers/${customers[0]}/wallets`)).status).toBe(503);
    await eventually('everybody to be refused', () => traffic.troubles.length >= REFUSALS);
    await onDatabase('reset default_transaction_read_only');
    await eventually('it to be ready', async () => (await traffic.call('GET', '/readyz')).status === 200, HEALED_MS);
    await Promise.all(meanwhile);
    expect(new Set(traffic.troubles)).toEqual(new Set([503]));
    traffic.troubles.length = 0;
    await Promise.all(everybody());
    expect(traffic.troubles).toEqual([]);
  }
  await rig.expectAllWell();
}, 180_000);
