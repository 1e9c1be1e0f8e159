import { randomBytes } from 'node:crypto';
import { rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { expect, it } from 'vitest';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit, paymentEvent, type TrafficEvent } from '../support/fault-traffic.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import type { ServiceProcess } from '../support/process.ts';
import type { SmallDisk } from '../support/small-disk.ts';
import { eventually } from '../support/wait.ts';

/**
 * F13: the disk of the database is full: that of the tables (statements fail with 53100), or that of the write-ahead log
 * (Postgres panics, and may not come up again before there is room). Deliveries and debits are answered 503 and nothing of
 * them is kept, what needs no room goes on, and when there is room, the service recovers by itself: everything counts once.
 *
 * On Linux the disks are real ones, a few megabytes of memory. Elsewhere nobody may mount such a thing without being asked
 * for a password; there, as on Linux, a proxy has the server answer 53100 to every statement that writes.
 */
const DISK_FULL = '53100';
const DISK_MB = 64;

it.concurrent('every write is answered with 53100', { timeout: 120_000 }, async ({ onTestFinished }) => {
  const rig = await FaultRig.start();
  onTestFinished(() => rig.close());
  const outage = await begin(rig);
  const makeRoom = rig.proxy.inject(({ sql, applicationName }) => {
    const isWrite = applicationName.startsWith('chokin') && /^\s*(insert|update|with)\b/i.test(sql);
    return isWrite ? { when: 'before', connection: 'kept', raises: DISK_FULL } : null;
  });
  await expectRefusals(rig, outage);
  makeRoom();
  await expectRecovery(rig, outage);
});

if (process.platform === 'linux') {
  it.concurrent('the disk of the tables is full', { timeout: 120_000 }, async ({ onTestFinished }) => {
    const cluster = await OwnCluster.start();
    onTestFinished(() => cluster.remove());
    const disk = await cluster.mountDisk(DISK_MB);
    const rig = await FaultRig.start({}, await cluster.migrated(await databaseOn(disk, cluster)));
    onTestFinished(() => rig.close());
    const outage = await begin(rig);
    await disk.fill();
    await expectRefusals(rig, outage);
    expect(await cluster.log()).toMatch(/ERROR: .*could not extend file .*No space left on device/);
    await disk.makeRoom();
    await expectRecovery(rig, outage);
  });

  it.concurrent('the disk of the write-ahead log is full', { timeout: 120_000 }, async ({ onTestFinished }) => {
    const cluster = await OwnCluster.start(['wal_recycle=off']);
    onTestFinished(() => cluster.remove());
    const disk = await cluster.mountDisk(DISK_MB);
    const database = await cluster.migrated();
    await cluster.stop();
    await cluster.copy(join(cluster.dataDir, 'pg_wal'), join(disk.path, 'pg_wal'));
    await rename(join(cluster.dataDir, 'pg_wal'), join(cluster.folder, 'pg_wal'));
    await symlink(join(disk.path, 'pg_wal'), join(cluster.dataDir, 'pg_wal'));
    await cluster.start();
    const rig = await FaultRig.start({}, database);
    onTestFinished(() => rig.close());
    const outage = await begin(rig);
    // From here on the log may not begin another of its files of 16 MB.
    await database.pool.query('checkpoint');
    await disk.fill();
    await expectRefusals(rig, outage);
    expect((await rig.traffic.call('GET', '/healthz')).status).toBe(200);
    expect(await cluster.log()).toMatch(/PANIC: .*could not write to file "pg_wal.*No space left on device/);
    await disk.makeRoom();
    if (!(await cluster.isRunning())) await cluster.start();
    await expectRecovery(rig, outage);
  });
}

interface Outage {
  readonly processes: readonly ServiceProcess[];
  readonly customerId: string;
  readonly event: () => TrafficEvent;
}

async function begin(rig: FaultRig): Promise<Outage> {
  const processes = await Promise.all([rig.startWeb(), rig.startWorker()]);
  const customerId = await rig.traffic.newCustomer(10_000);
  await rig.traffic.deliver(paymentEvent(customerId, 10));
  await rig.expectAllWell();
  return { processes, customerId, event: () => largeEvent(customerId, 10) };
}

/** Payments and debits, until the room that is left inside of files is used up as well, and then some more. */
async function expectRefusals({ traffic }: FaultRig, { customerId, event }: Outage): Promise<void> {
  const isRefused = async () => (await traffic.deliverOnce(event())) === 503;
  await eventually('a delivery to be turned away', isRefused, 30_000);
  // A server that starts anew may find some room, which debits alone would take long to use up.
  const debit = async () => {
    const [{ status }] = await Promise.all([traffic.debitOnce(newDebit(customerId, 7)), traffic.deliverOnce(event())]);
    return status === 503;
  };
  await eventually('a debit to be turned away', debit, 30_000);
  const isUnready = async () => (await debit()) && (await traffic.call('GET', '/readyz')).status === 503;
  await eventually('readiness to notice', isUnready, 30_000);
}

/** There is room again. What was refused is repeated, as it was. */
async function expectRecovery(rig: FaultRig, { processes, customerId, event }: Outage): Promise<void> {
  const { traffic } = rig;
  expect(new Set(traffic.troubles)).toEqual(new Set([503]));
  await traffic.deliver(event());
  await traffic.debit(newDebit(customerId, 7));
  await rig.expectAllWell();
  expect(processes.map(({ child }) => child.exitCode)).toEqual([null, null]);
}

const EVENT_BYTES = 900_000;

/** An event with much beside what counts, which does not compress. */
function largeEvent(customerId: string, amountMinor: number): TrafficEvent {
  const event = paymentEvent(customerId, amountMinor);
  const beside = randomBytes((EVENT_BYTES * 3) / 4).toString('base64');
  return { ...event, body: JSON.stringify({ ...JSON.parse(event.body), beside }) };
}

/** A new database all of whose tables are on the disk. @returns its URL */
async function databaseOn(disk: SmallDisk, cluster: OwnCluster): Promise<string> {
  const client = new pg.Client({ connectionString: cluster.url });
  await client.connect();
  await client.query(`create tablespace small location ${pg.escapeLiteral(disk.path)}`);
  await client.query('create database on_small tablespace small');
  await client.end();
  const url = new URL(cluster.url);
  url.pathname = '/on_small';
  return url.href;
}
