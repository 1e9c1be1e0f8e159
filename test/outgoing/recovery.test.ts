import type { PgBoss } from 'pg-boss';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createBoss } from '../../src/db/boss.ts';
import { transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createOutgoing, type Outgoing } from '../../src/outgoing/index.ts';
import type { EndpointInput, WebhookEndpoint } from '../../src/outgoing/outgoing.ts';
import { gapsOf } from '../../src/outgoing/recovery/missed-entries.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
import { type SvixUnderTest, svixesUnderTest } from '../support/svix/under-test.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

/** Aims at recoveries page by page, by both senders. That a worker runs them is in test/http/outgoing-senders.test.ts. */

const logger = createLogger('silent', 'test');
const HOUR_MS = 3_600_000;

const SENDERS = [{ name: 'the embedded sender', start: async () => null }, ...svixesUnderTest()];

describe.each(SENDERS)('with $name', ({ name, start }) => {
  let database: TestDatabase;
  let boss: PgBoss;
  let svix: SvixUnderTest | null;
  let outgoing: Outgoing;
  let receiver: WebhookReceiver;

  beforeAll(async () => {
    database = await createTestDatabase();
    await makeCustomers(database.pool, ['a', 'b', 'c']);
    boss = createBoss({ databaseUrl: database.url, applicationName: 'test', maxConnections: 4, works: false, logger });
    await boss.start();
    svix = await start();
    const config = {
      SVIX_TOKEN: svix === null ? undefined : new Secret(svix.token),
      SVIX_SERVER_URL: svix?.url,
      ALLOW_PRIVATE_ENDPOINTS: true,
    };
    outgoing = createOutgoing({ config, pool: database.pool, boss, clock: systemClock, logger, box: BOX });
    await asIfTold();
  });
  afterAll(async () => {
    await outgoing.close();
    await boss.stop({ graceful: false });
    await database.drop();
    await svix?.close();
  });
  beforeEach(async () => {
    receiver = await WebhookReceiver.start();
  });
  afterEach(async () => {
    for (const { id } of await outgoing.webhooks.listEndpoints(MERCHANT)) {
      await outgoing.webhooks.deleteEndpoint(MERCHANT, id);
    }
    await database.pool.query('delete from webhook_recovery');
    await boss.deleteAllJobs('deliver-webhook');
    await receiver.close();
  });

  /** As where nobody listened: the wallets count as told of, and no message was made. */
  async function asIfTold(): Promise<void> {
    await database.pool.query('update wallet set announced_version = version, announced_alert_seq = alert_seq');
    await database.pool.query('delete from unannounced_wallet');
  }

  async function write(customer: string, entries: number, at = new Date()): Promise<void> {
    const customerId = `cus_${customer}`;
    const postings = Array.from({ length: entries }, () => posting({ customerId, amountMinor: 1 }));
    await transaction(database.pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now: at }));
  }

  const add = (path: string, since?: Date, more: Partial<EndpointInput> = {}): Promise<WebhookEndpoint> =>
    outgoing.webhooks.createEndpoint(
      MERCHANT,
      { url: `${receiver.url}/${path}`, description: '', eventTypes: null, disabled: false, ...more },
      since,
    );

  /** Lets every recovery run that waits for its time, to its end. */
  async function run(): Promise<void> {
    for (;;) {
      await database.pool.query('update webhook_recovery set not_before = now()');
      if ((await outgoing.recover(new AbortController().signal)) === null) break;
    }
    if (svix === null) await deliverAll();
  }

  async function deliverAll(): Promise<void> {
    while ((await outgoing.deliverer.deliverDue()) > 0);
  }

  const messagesAt = (path: string) =>
    receiver.received.filter((one) => one.path === `/hook/${path}`).map(({ body }) => JSON.parse(body));

  const seqsAt = (path: string, customer: string): number[] =>
    messagesAt(path)
      .filter(({ data }) => data.customer_id === `cus_${customer}`)
      .flatMap(({ data }) => data.entries.map(({ seq }: { seq: number }) => seq));

  const recoveries = async () =>
    (await database.pool.query('select state, reason, resent, rebuilt from webhook_recovery order by created_at')).rows;

  const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

  test('what nobody heard is made once, for the endpoint that asks alone, and under the same ids for the next', async () => {
    const since = new Date(Date.now() - HOUR_MS);
    await write('a', 450);
    await write('b', 3);
    await asIfTold();
    await add('bystander');
    await add('first', since);
    await run();
    await eventually('every entry', () => seqsAt('first', 'a').length >= 450 && seqsAt('first', 'b').length >= 3);
    expect(seqsAt('first', 'a').toSorted((x, y) => x - y)).toEqual(upTo(450));
    expect(seqsAt('first', 'b')).toEqual([1, 2, 3]);
    for (const { type, business_id, data } of messagesAt('first')) {
      expect([type, business_id]).toEqual(['wallet.balance.changed', MERCHANT]);
      expect(data.previous_version + data.entries.length).toBe(data.version);
    }
    expect(await recoveries()).toEqual([
      { state: 'finished', reason: null, resent: 0, rebuilt: messagesAt('first').length },
    ]);

    const second = await add('second', since);
    await run();
    await eventually('every entry again', () => seqsAt('second', 'a').length >= 450);
    const idsAt = (path: string) =>
      messagesAt(path)
        .map(({ id }) => id)
        .toSorted();
    expect(idsAt('second')).toEqual(idsAt('first'));
    expect(new Set(idsAt('first')).size).toBe(idsAt('first').length);
    await eventually('the attempts', async () => {
      const query = { cursor: null, status: null, eventType: null, messageId: null, since: null, until: null };
      const page = await outgoing.webhooks.listAttempts(MERCHANT, second.id, { ...query, pageSize: 100 });
      return page?.attempts.length === idsAt('second').length;
    });
    await outgoing.webhooks.recover(MERCHANT, second.id, { since, until: null });
    await run();
    expect((await recoveries()).at(-1)).toEqual({ state: 'finished', reason: null, resent: 0, rebuilt: 0 });
    expect(idsAt('second')).toEqual(idsAt('first'));
    expect(messagesAt('bystander')).toEqual([]);
  });

  test('entries outside of the window, and those still on their way, are left alone', async () => {
    const at = (seconds: number) => new Date(begun.getTime() + seconds * 1000);
    const begun = new Date(Date.now() - 60_000);
    await write('c', 2, at(0));
    await write('c', 3, at(1));
    await write('c', 4, at(2));
    await asIfTold();
    const [since, until] = [at(1), at(2)];
    const endpoint = await add('narrow');
    await outgoing.webhooks.recover(MERCHANT, endpoint.id, { since, until });
    await run();
    await eventually('three entries', () => seqsAt('narrow', 'c').length >= 3);
    expect(seqsAt('narrow', 'c')).toEqual([3, 4, 5]);
    await write('c', 1);
    await outgoing.webhooks.recover(MERCHANT, endpoint.id, { since: until, until: null });
    await run();
    await eventually('four more', () => seqsAt('narrow', 'c').length >= 7);
    expect(seqsAt('narrow', 'c')).toEqual(upTo(9, 3));
    await asIfTold();
  });

  test('an endpoint gets what it subscribes to alone', async () => {
    await write('b', 1);
    await asIfTold();
    await add('filtered', new Date(Date.now() - HOUR_MS), { eventTypes: ['wallet.created', 'wallet.balance.low'] });
    await run();
    expect(await recoveries()).toEqual([{ state: 'finished', reason: null, resent: 0, rebuilt: 0 }]);
    expect(messagesAt('filtered')).toEqual([]);
  });

  test.each([
    ['removed', 'the endpoint was removed'],
    ['disabled', 'the endpoint is disabled'],
  ])('one whose endpoint was %s meanwhile stops and says why', async (what, reason) => {
    const { id } = await add('gone', new Date(Date.now() - HOUR_MS));
    if (what === 'removed') await outgoing.webhooks.deleteEndpoint(MERCHANT, id);
    else await outgoing.webhooks.updateEndpoint(MERCHANT, id, { disabled: true });
    await run();
    expect(await recoveries()).toMatchObject([{ state: 'stopped', reason }]);
    expect(messagesAt('gone')).toEqual([]);
  });

  test('a page that a worker died with is done by the next, and sends nothing twice', async () => {
    const since = new Date(Date.now() - HOUR_MS);
    await write('b', 2);
    await asIfTold();
    await add('crashed', since);
    // The worker dies after the page, before its place is noted.
    await database.pool.query(
      'alter table webhook_recovery add constraint dies check (rebuilt = 0 and phase = $$kept$$)',
    );
    await database.pool.query('update webhook_recovery set not_before = now()');
    await outgoing.recover(new AbortController().signal);
    expect(await recoveries()).toMatchObject([{ state: 'running' }]);
    await database.pool.query('alter table webhook_recovery drop constraint dies');
    await run();
    await eventually('every entry', () => seqsAt('crashed', 'b').length > 0);
    const seqs = seqsAt('crashed', 'b');
    expect(new Set(seqs).size).toBe(seqs.length);
  });

  const withDouble = name === 'the double' ? test : null;
  withDouble?.('Svix’s limits put a page off, and a message it refuses does not hold up the others', async () => {
    const since = new Date(Date.now() - HOUR_MS);
    await add('limited', since);
    svix?.double?.script('message.list', { status: 429, headers: { 'retry-after': '20' } });
    await database.pool.query('update webhook_recovery set not_before = now()');
    const seconds = await outgoing.recover(new AbortController().signal);
    expect(seconds).toBeGreaterThan(10);
    expect(seconds).toBeLessThanOrEqual(20);
    await run();
    expect(await recoveries()).toMatchObject([{ state: 'finished' }]);

    await write('a', 1);
    await write('b', 1);
    await asIfTold();
    svix?.double?.script('message.create', { status: 413, body: '{"code":"too_large","detail":"too large"}' });
    const start = messagesAt('limited').length;
    const [endpoint] = await outgoing.webhooks.listEndpoints(MERCHANT);
    await outgoing.webhooks.recover(MERCHANT, endpoint?.id ?? '', { since, until: null });
    await run();
    await eventually('the other', () => messagesAt('limited').length === start + 1);
    expect((await recoveries()).at(-1)).toMatchObject({ state: 'finished' });
  });

  withDouble?.('a message that was made, but that a crash kept from being noted, is not sent twice', async () => {
    const since = new Date(Date.now() - HOUR_MS);
    await write('b', 1);
    await asIfTold();
    const endpoint = await add('noted', since);
    await run();
    const query = { cursor: null, status: null, eventType: null, messageId: null, since: null, until: null };
    const count = await eventually('the attempts', async () => {
      const [{ resent, rebuilt }] = (await recoveries()) as [{ resent: number; rebuilt: number }];
      const page = await outgoing.webhooks.listAttempts(MERCHANT, endpoint.id, { ...query, pageSize: 100 });
      return page?.attempts.length === resent + rebuilt && resent + rebuilt;
    });
    const notes = async () =>
      (
        await database.pool.query('select message_id from svix_message where endpoint_id = $1 order by 1', [
          endpoint.id,
        ])
      ).rows;
    const noted = await notes();
    const { rows: newest } = await database.pool.query<{ id: string }>(
      'select message_id as id from svix_message where endpoint_id = $1 order by sent_at desc limit 1',
      [endpoint.id],
    );
    await database.pool.query('delete from svix_message where message_id = $1', [newest[0]?.id]);
    await outgoing.webhooks.recover(MERCHANT, endpoint.id, { since, until: null });
    await run();
    expect((await recoveries()).at(-1)).toMatchObject({ state: 'finished' });
    expect(messagesAt('noted')).toHaveLength(count);
    expect(await notes()).toEqual(noted);
  });

  withDouble?.(
    'what Svix does not keep any more is passed over, and what it does not answer is asked for again',
    async () => {
      const since = new Date(Date.now() - HOUR_MS);
      const { publisher } = outgoing;
      const message = { merchantId: MERCHANT, eventType: 'wallet.created', payload: '{"type":"wallet.created"}' };
      await publisher.send([
        { ...message, messageId: `whm_x${Date.now()}` },
        { ...message, messageId: `whm_y${Date.now()}` },
      ]);
      await add('expired', since, { eventTypes: ['wallet.created'] });
      svix?.double?.script('messageAttempt.listByMsg', { status: 500 });
      await database.pool.query('update webhook_recovery set not_before = now()');
      expect(await outgoing.recover(new AbortController().signal)).toBeGreaterThan(10);
      svix?.double?.script('messageAttempt.resend', {
        status: 400,
        body: '{"code":"missing_payload","detail":"expired"}',
      });
      await run();
      expect(await recoveries()).toMatchObject([{ state: 'finished' }]);
      await eventually('the other of the two', () => messagesAt('expired').length > 0);
      expect(messagesAt('expired')).toHaveLength(1);
    },
  );

  const embedded = name === 'the embedded sender' ? test : null;
  embedded?.('an endpoint that cannot keep up is waited for', async () => {
    const { id } = await add('slow', new Date(Date.now() - HOUR_MS));
    await database.pool.query(
      `insert into webhook_message (merchant_id, message_id, event_type, payload, created_at)
       select $1, 'whm_slow_' || n, 'wallet.created', '{}', now() - interval '40 days' from generate_series(1, 1001) n`,
      [MERCHANT],
    );
    await database.pool.query(
      `insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
       select $1, 'whm_slow_' || n, $2, 'pending', now() from generate_series(1, 1001) n`,
      [MERCHANT, id],
    );
    await database.pool.query('update webhook_recovery set not_before = now()');
    expect(await outgoing.recover(new AbortController().signal)).toBe(5);
    expect(await recoveries()).toMatchObject([{ state: 'running', resent: 0, rebuilt: 0 }]);
    await database.pool.query("update webhook_delivery set state = 'delivered', next_attempt_at = null");
    await run();
    expect(await recoveries()).toMatchObject([{ state: 'finished' }]);
  });

  embedded?.('many wallets and messages come page by page, each once', async () => {
    const since = new Date(Date.now() - HOUR_MS);
    const names = Array.from({ length: 230 }, (_, index) => `many_${index}`);
    const ids = await makeCustomers(database.pool, names);
    const now = new Date();
    const postings = ids.map((customerId) => posting({ customerId, amountMinor: 1 }));
    await transaction(database.pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now }));
    await asIfTold();
    const toldAt = (path: string) =>
      messagesAt(path)
        .map(({ data }) => data.customer_id)
        .filter((id: string) => id.startsWith('cus_many_'))
        .toSorted();
    await add('made', since);
    await run();
    expect(toldAt('made')).toEqual(ids.toSorted());
    await database.pool.query('delete from webhook_recovery');
    // By now all of it is kept.
    await add('kept', since);
    await run();
    expect(toldAt('kept')).toEqual(ids.toSorted());
    expect(await recoveries()).toMatchObject([{ state: 'finished', rebuilt: 0 }]);
  });

  embedded?.('messages that an older release stored are known by their entries', async () => {
    const since = new Date(Date.now() - HOUR_MS);
    await write('b', 1);
    await asIfTold();
    await add('old-one', since);
    await run();
    await database.pool.query(
      'update webhook_message set customer_id = null, currency = null, first_seq = null, last_seq = null',
    );
    const before = (await database.pool.query('select message_id from webhook_message order by 1')).rows;
    await add('old-two', since);
    await run();
    expect((await database.pool.query('select message_id from webhook_message order by 1')).rows).toEqual(before);
    expect(seqsAt('old-two', 'b').toSorted()).toEqual(seqsAt('old-one', 'b').toSorted());
  });

  test('one that cannot be claimed keeps no other waiting', async () => {
    await write('a', 1);
    await asIfTold();
    const since = new Date(Date.now() - HOUR_MS);
    const [first, second] = [await add('first', since), await add('second', since)];
    await database.pool.query(
      "update webhook_recovery set not_before = now() - case endpoint_id when $1 then interval '2 minutes' else interval '1 minute' end",
      [first.id],
    );
    await database.pool.query(`
      create function refuse_claim() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
      create trigger refuse_claim before update on webhook_recovery for each row
      when (new.endpoint_id = '${first.id}') execute function refuse_claim()`);
    await expect(outgoing.recover(new AbortController().signal)).rejects.toThrow('refused');
    const { rows } = await database.pool.query('select endpoint_id, state from webhook_recovery order by state');
    expect(rows).toEqual([
      { endpoint_id: second.id, state: 'finished' },
      { endpoint_id: first.id, state: 'running' },
    ]);
    await database.pool.query('drop trigger refuse_claim on webhook_recovery; drop function refuse_claim');
    await run();
    expect((await recoveries()).map(({ state }) => state)).toEqual(['finished', 'finished']);
  });
});

test.each([
  [0, 10, [], [[0, 10]]],
  [0, 10, [[1, 10]], []],
  [
    0,
    10,
    [[4, 6]],
    [
      [0, 3],
      [6, 10],
    ],
  ],
  [
    0,
    10,
    [
      [8, 20],
      [1, 2],
    ],
    [[2, 7]],
  ],
  [5, 10, [[1, 7]], [[7, 10]]],
  [
    5,
    10,
    [
      [1, 7],
      [3, 6],
    ],
    [[7, 10]],
  ],
] as const)('of the entries after %i up to %i, with messages of %j, nobody was told of %j', (from, to, known, gaps) => {
  const messages = known.map(([firstSeq = 0, lastSeq = 0]) => ({ messageId: 'whm_1', firstSeq, lastSeq }));
  expect(gapsOf(from, to, messages).map((gap) => [gap.from, gap.to])).toEqual(gaps);
});
