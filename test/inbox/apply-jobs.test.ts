import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import { firstThatFit, type OwnedJob, putBack } from '../../src/inbox/apply-jobs.ts';
import { withMerchants } from '../../src/inbox/whose-events.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { MERCHANT } from '../support/ledger.ts';
import { stripePayment } from '../support/signing.ts';

/** Jobs that a batch has no room for, and what is no job of this worker any more. */

let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createTestDatabase();
  inbox = await startInbox(database, { sources: [testSource('stripe')] });
});
afterAll(async () => {
  await inbox.stop();
  await database.drop();
});

const job = (priority: number): OwnedJob => ({
  ...{ id: randomUUID(), merchantId: MERCHANT, eventId: `evt_${priority}`, retryCount: 0, retryLimit: 5, priority },
});

describe('jobs that a release before made, which name their event alone', () => {
  it('are of the merchant whose event it is, found along his key; what is gone is nobody’s', async () => {
    const merchants =
      "insert into merchant (merchant_id, name, mode) values ($1, 'One', 'test'), ('bus_other', 'Other', 'test')";
    await database.pool.query(merchants, [MERCHANT]);
    await inbox.play([stripePayment({ paymentId: 'pi_old', amount: 5 })]);
    const { rows } = await database.pool.query<{ event_id: string }>('select event_id from provider_event');
    const [eventId = ''] = rows.map(({ event_id }) => event_id);
    const jobs = [{ eventId }, { eventId: 'evt_gone' }, { eventId: 'evt_new', merchantId: 'bus_other' }];
    expect(await withMerchants(autocommit(inbox.services.pool), jobs)).toEqual([
      { eventId, merchantId: MERCHANT },
      { eventId: 'evt_gone', merchantId: '' },
      { eventId: 'evt_new', merchantId: 'bus_other' },
    ]);
    const result = await applyEvents(inbox.services, [{ id: randomUUID(), eventId, retryCount: 1, retryLimit: 5 }]);
    expect(result).toMatchObject([{ status: 'failed', output: { error: 'ClaimLostError' } }]);
  });
});

const ofQueue = (jobs: readonly OwnedJob[]) => {
  return { name: 'apply-provider-event', jobs, insert: () => Promise.resolve() } as const;
};

describe('jobs that are fetched together', () => {
  it('go by their place in the queue, those of events that are gone too', async () => {
    const [later, sooner] = [job(-1), job(0)];
    const { batch, left } = await firstThatFit({ pool: database.pool }, [later, sooner]);
    expect([batch, left]).toEqual([[sooner, later], []]);
  });

  it('and are put back though another worker has one of them fail, so that pg-boss tries those again that it has not', async () => {
    const jobs = [job(0), job(-1)];
    const failed = jobs.map(({ id }) => ({ id, status: 'failed', output: { error: 'ClaimLostError' } }));
    expect(await putBack({ pool: database.pool, boss: inbox.boss }, ofQueue(jobs))).toEqual(failed);
    expect(await putBack({ pool: database.pool, boss: inbox.boss }, ofQueue([]))).toEqual([]);
  });

  it('and cannot be put back for another reason end with that', async () => {
    const pool = new pg.Pool();
    await pool.end();
    await expect(putBack({ pool, boss: inbox.boss }, ofQueue([job(0)]))).rejects.toThrow('after calling end');
  });
});
