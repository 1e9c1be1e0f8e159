import { afterAll, beforeAll, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { announce } from '../../src/outgoing/announce.ts';
import type { OutgoingMessage } from '../../src/outgoing/outgoing.ts';
import type { Publisher } from '../../src/outgoing/publisher.ts';
import { retryRefusedAtStart } from '../../src/outgoing/retry-refused.ts';
import { SvixPublisher } from '../../src/outgoing/svix/publisher.ts';
import { leaveMessages } from '../../src/outgoing/unsent.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { newAnnouncer } from '../support/svix-announcer.ts';
import { SvixServer } from '../support/svix-server.ts';

/** A database in which Svix has refused everything, as the first release left it, under the present one. */

let database: TestDatabase;
const logger = createLogger('silent', 'test');
const OLD: OutgoingMessage = {
  merchantId: MERCHANT,
  messageId: 'msg_0123456789abcdefghjkmnpqrs',
  eventType: 'payment.reconciled',
  payload: '{"id":"msg_0123456789abcdefghjkmnpqrs","type":"payment.reconciled","data":{"payment_id":"pi_1"}}',
};

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

it('a worker that starts sends at once what was refused, under ids that Svix takes', async () => {
  const { pool } = database;
  await makeCustomers(pool, ['refused']);
  await transaction(pool, (tx) => leaveMessages(tx, [OLD], new Date()));
  const refusing: Publisher = {
    concurrency: 4,
    pausedForSeconds: () => 0,
    send: () => Promise.resolve({ kind: 'failed', permanent: true, reason: 'Svix answered 422: uid' }),
    record: () => Promise.resolve(),
  };
  await announce({ pool, publisher: refusing, logger, maxSeconds: 10 });
  const waiting =
    'select 1 from unannounced_wallet where retry_at > now() union all select 1 from unsent_message where retry_at > now()';
  expect((await pool.query(waiting)).rowCount).toBe(3);

  const stop = new AbortController();
  const due = new Promise<void>((resolve) => {
    void retryRefusedAtStart({ pool, logger, onDue: resolve, signal: stop.signal });
  });
  await due;
  stop.abort();
  const svix = await SvixServer.start();
  const announcer = newAnnouncer(database, svix);
  expect(announcer.publisher).toBeInstanceOf(SvixPublisher);
  await announce(announcer);
  const ids = svix.accepted(MERCHANT).map((payload) => (payload as { id: string }).id);
  expect(ids).toHaveLength(3);
  expect(ids).toContain('whm_0123456789abcdefghjkmnpqrs');
  expect(svix.calls('message.create').map(({ body }) => body)).toEqual(
    expect.arrayContaining([
      {
        eventId: 'whm_0123456789abcdefghjkmnpqrs',
        eventType: 'payment.reconciled',
        payload: { ...JSON.parse(OLD.payload), id: 'whm_0123456789abcdefghjkmnpqrs' },
      },
    ]),
  );
  await announcer.pool.end();
  await svix.close();
});
