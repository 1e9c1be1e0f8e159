import { expect, it } from 'vitest';
import { FaultRig } from '../../support/fault-rig.ts';
import { newDebit, paymentEvent } from '../../support/fault-traffic.ts';
import { OwnCluster } from '../../support/own-cluster.ts';
import { Switch } from '../../support/switch.ts';
import { eventually } from '../../support/wait.ts';

/**
 * F51: the primary dies under traffic, the address leads to its streaming standby, which only reads at first and is promoted then.
 * Nobody hears anything worse than 503, the processes are not ready meanwhile and say why, and within five seconds of the
 * promotion they are; what was answered is there, what was not is repeated and counts once.
 */
const HEALED_MS = 5_000;
const REFUSALS = 40;

it('a standby takes over: not ready while it only reads, well within five seconds of its promotion', async ({
  onTestFinished,
}) => {
  const primary = await OwnCluster.start();
  onTestFinished(() => primary.remove());
  const address = await Switch.start(Number(new URL(primary.url).port));
  onTestFinished(() => address.close());
  const url = new URL(primary.url);
  url.port = String(address.port);
  const database = await primary.migrated(url.href);
  const standby = await primary.standby();
  onTestFinished(() => standby.remove());
  const rig = await FaultRig.start({}, database);
  onTestFinished(() => rig.close());
  const { traffic } = rig;
  await Promise.all([rig.startWeb(), rig.startWorker()]);
  const customers = await Promise.all(Array.from({ length: 10 }, () => traffic.newCustomer(10_000)));
  const everybody = (): Promise<unknown>[] =>
    customers.flatMap((customerId) => [
      traffic.debit(newDebit(customerId, 1)),
      traffic.deliver(paymentEvent(customerId, 2)),
    ]);
  await Promise.all(everybody());

  const meanwhile = [...everybody(), ...everybody()];
  await primary.stop('immediate');
  address.to(Number(new URL(standby.url).port));
  await eventually('readiness to say why', async () => {
    const { status, body } = await traffic.call('GET', '/readyz');
    return status === 503 && String(body?.message).includes('only reads');
  });
  await eventually('many to be refused', () => traffic.troubles.length >= REFUSALS);
  await standby.promote();
  await eventually('it to be ready', async () => (await traffic.call('GET', '/readyz')).status === 200, HEALED_MS);
  await Promise.all(meanwhile);
  expect(new Set(traffic.troubles)).toEqual(new Set([503]));
  traffic.troubles.length = 0;
  await Promise.all(everybody());
  expect(traffic.troubles).toEqual([]);
  await rig.expectAllWell();
}, 180_000);
