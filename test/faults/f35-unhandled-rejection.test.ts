import { expect, it } from 'vitest';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { type FaultOnSignal, faultOnSignal } from '../support/injection.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { rounds } from '../support/rounds.ts';
import { eventually } from '../support/wait.ts';

/**
 * F35: a rejection that nobody handles, or an exception that nobody catches, somewhere in a real web or worker process in
 * the middle of its work. The process ends with 1 after one line in the log, which holds the error and no row that Postgres
 * quoted; another process heals it: every payment and debit counts once.
 */
const FAULTS: readonly FaultOnSignal[] = ['reject', 'throw'];
/** What a worker had claimed, another takes over once its heartbeat is missed, which takes a quarter of a minute. */
const WORKERS = ['between two batches', 'in a batch'].slice(0, rounds(1, 2));
const FATAL = 60;

it.concurrent.for(FAULTS.flatMap((fault) => WORKERS.map((worker) => [fault, worker] as const)))(
  'a defect (%s) ends web in a request and the worker %s with 1 after one line, and others go on where they were',
  { timeout: 120_000 },
  async ([fault, when], { onTestFinished }) => {
    const rig = await FaultRig.start();
    onTestFinished(() => rig.close());
    const environment = { ...rig.environment, ...faultOnSignal(fault) };
    const web = startProcess('src/web.ts', environment);
    const worker = startProcess('jobs/worker.ts', environment);
    for (const { child } of [web, worker]) onTestFinished(() => void child.kill('SIGKILL'));
    await Promise.all([web.printed('Listening'), worker.printed('the worker is ready')]);
    const customerId = await rig.traffic.newCustomer(10_000);
    await rig.traffic.deliver(paymentEvent(customerId, 10));

    // What comes of a commit that is on its way then, nobody is told.
    const applies = when === 'in a batch' ? [heldCommit(rig, 'chokin-worker')] : [];
    const deliveries = Array.from({ length: 20 }, () => rig.traffic.deliver(paymentEvent(customerId, 10)));
    await (when === 'in a batch' ? applies[0]?.isHeld : Promise.all(deliveries));
    const posts = heldCommit(rig, 'chokin-web');
    const debits = Array.from({ length: 20 }, () => rig.traffic.debit(newDebit(customerId, 7)));
    await posts.isHeld;
    for (const process of [web, worker]) await expectCrash(process);
    for (const { letGo } of [...applies, posts]) letGo();

    await Promise.all([rig.startWeb(), rig.startWorker()]);
    await Promise.all([...deliveries, ...debits]);
    expect(rig.traffic.troubles.filter((status) => ![0, 409, 503].includes(status))).toEqual([]);
    expect(rig.traffic.owed.get(customerId)).toBe(10_000 + 21 * 10 - 20 * 7);
    await rig.expectAllWell();
  },
);

/** The next commit of a transaction of `applicationName` stands in the proxy until it is let go. */
function heldCommit({ proxy }: FaultRig, applicationName: string): { isHeld: Promise<unknown>; letGo: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const armed = proxy.arm(
    1,
    { when: 'before', connection: 'kept', meanwhile: () => promise },
    (statement) => statement.applicationName === applicationName && statement.sql === 'commit',
  );
  return { isHeld: eventually('a commit to be held', () => armed.hit !== null), letGo: resolve };
}

async function expectCrash(process: ServiceProcess): Promise<void> {
  expect(await process.end('SIGUSR2')).toBe(1);
  const fatal = process
    .stdout()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter(({ level }) => level === FATAL);
  expect(fatal).toEqual([
    expect.objectContaining({
      msg: 'an error that nothing caught ends the process',
      err: expect.objectContaining({ message: 'a defect', code: '23505', stack: expect.stringContaining('defect (') }),
    }),
  ]);
  expect(process.output()).not.toContain('ada@example.com');
}
