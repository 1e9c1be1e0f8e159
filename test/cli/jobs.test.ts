import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workApplyProviderEvent } from '../../jobs/apply-provider-event.ts';
import { InvariantError } from '../../src/errors.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import { redriveEvents } from '../../src/inbox/recover-dead.ts';
import type { Sources } from '../../src/merchants/sources.ts';
import { startTestCli, type TestCli } from '../support/cli.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

const QUEUE = 'apply-provider-event';

let cli: TestCli;
let inbox: TestInbox;

beforeAll(async () => {
  cli = await startTestCli();
  await makeCustomers(cli.database.pool, ['ada']);
  inbox = await startInbox(cli.database, { works: false, sharesJobs: false });
});
afterAll(async () => {
  await inbox.stop();
  await cli.close();
});

/** Receives payments while applying fails, until their jobs are given up. */
async function giveUp(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await inbox.deliver(stripePaymentSucceeded({ amount: 100, metadata: { wallet_customer_id: 'cus_ada' } }));
  }
  const find: Sources['find'] = () => Promise.reject(new InvariantError('a mistake of ours'));
  const sources: Sources = { ...inbox.services.sources, find };
  const jobs = await inbox.boss.fetch<{ eventId: string }>(QUEUE, { batchSize: count, includeMetadata: true });
  for (const { id, retryLimit, data } of jobs) {
    const last = { id, retryCount: retryLimit, retryLimit, eventId: data.eventId };
    const [result] = await applyEvents({ ...inbox.services, sources }, [last]);
    expect(result).toMatchObject({ status: 'deadletter' });
  }
  // As pg-boss does with what a worker answers so.
  await cli.database.pool.query("update pgboss.job set retry_limit = 0 where name = $1 and state = 'active'", [QUEUE]);
  await inbox.boss.fail(
    QUEUE,
    jobs.map((job) => job.id),
    { error: 'InvariantError' },
  );
}

const held = async () => {
  const { items } = await cli.json('jobs list');
  return Object.fromEntries(items.map(({ name, ...rest }: { name: string }) => [name, rest]));
};

describe('jobs that were given up', { timeout: 180_000 }, () => {
  it('are shown, and put back with their events once the cause is mended', async () => {
    await giveUp(3);
    expect(await held()).toMatchObject({ [QUEUE]: { due: 0, dead: 3 }, 'audit-books': { due: 0, dead: 0 } });
    expect(await inbox.states()).toEqual({ parked: 3 });
    const { items } = await cli.json(`jobs dead ${QUEUE} --limit 2`);
    expect(items).toHaveLength(2);
    expect(items[0]).toMatchObject({ error: 'InvariantError', data: { eventId: expect.stringMatching(/^evt_/) } });
    const table = await cli.chokin(`jobs dead ${QUEUE}`);
    expect(table.out).toMatch(/^20\S+Z +\d+ +InvariantError +\{"eventId":"evt_\w+"/m);

    // One of them a person has handled meanwhile.
    await cli.json(`events dismiss ${items[0].data.eventId} --note credited`);
    expect(await cli.json(`jobs redrive ${QUEUE} --limit 2`)).toEqual({ queue: QUEUE, redriven: 1, settled: 1 });
    expect(await held()).toMatchObject({ [QUEUE]: { due: 1, dead: 1 } });
    const rest = await cli.chokin(`jobs redrive ${QUEUE}`);
    expect(rest).toMatchObject({ code: 0, err: '', out: `queue     ${QUEUE}\nput back  1\n` });

    await workApplyProviderEvent(inbox.boss, inbox.services);
    await inbox.settled();
    expect(await inbox.states()).toEqual({ applied: 2, dismissed: 1 });
    expect(await inbox.balance('cus_ada')).toBe(200);
    expect(await held()).toMatchObject({ [QUEUE]: { due: 0, dead: 0 } });
    await expectBooksToAgree(cli.database.pool);
    await inbox.boss.offWork(QUEUE, { wait: true });
  });

  it('of other queues go back by pg-boss', async () => {
    await inbox.boss.send('deliver-webhook', { nonsense: true }, { retryLimit: 0 });
    const [job] = await inbox.boss.fetch('deliver-webhook');
    await inbox.boss.fail('deliver-webhook', job?.id ?? '', new TypeError('no such thing'));
    const dead = await cli.chokin('jobs dead deliver-webhook');
    expect(dead.out).toMatch(/ 0 +TypeError: no such thing +\{"nonsense":true\}$/m);
    expect(await cli.json('jobs redrive deliver-webhook')).toMatchObject({ redriven: 1, settled: 0 });
    expect(await held()).toMatchObject({ 'deliver-webhook': { due: 1, dead: 0 } });
    expect((await cli.chokin('jobs dead deliver-webhook')).out).toBe('None was given up.\n');
  });

  it('are put back once, however many try at the same time', async () => {
    await giveUp(4);
    const { pool } = cli.database;
    const results = await Promise.all([1, 2, 3].map(() => redriveEvents(pool, inbox.boss, 10)));
    expect(results.reduce((sum, { redriven }) => sum + redriven, 0)).toBe(4);
    await eventually('four jobs', async () => (await held())[QUEUE]?.due === 4);
  });
});
