import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { outgoingMessage } from '../../src/outgoing/catalogue.ts';
import type { OutgoingMessage } from '../../src/outgoing/outgoing.ts';
import type { Publisher, SendResult } from '../../src/outgoing/publisher.ts';
import { leaveMessages, sendUnsent } from '../../src/outgoing/unsent.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';

const NOW = new Date('2026-11-01T00:00:00Z');
let database: TestDatabase;
let sent: string[];
let recorded: string[];

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
});
afterAll(() => database.drop());
beforeEach(async () => {
  [sent, recorded] = [[], []];
  await database.pool.query('delete from unsent_message');
});

function publisher(answer: (messageId: string) => SendResult = () => ({ kind: 'sent' })): Publisher {
  return {
    concurrency: 4,
    pausedForSeconds: () => 0,
    send: async ([message]) => {
      const result = answer(message?.messageId ?? '');
      if (result.kind === 'sent') sent.push(message?.messageId ?? '');
      return result;
    },
    record: async (_tx, messages) => {
      recorded.push(...messages.map((message) => message.messageId));
    },
  };
}

const message = (messageId: string): OutgoingMessage =>
  outgoingMessage(
    'payment.reconciled',
    { merchantId: MERCHANT, messageId, at: NOW },
    {
      payment_id: 'pi_1',
      source_id: 'src_stripe',
      provider: 'stripe',
      customer_id: 'cus_1',
      purpose: 'topup',
      currency: 'USD',
      amount_paid: 1,
      credited: 1,
      healed: [{ kind: 'payment', id: 'pi_1' }],
      reconciliation_id: 'rec_1',
    },
  );

const leave = (...ids: string[]) => transaction(database.pool, (tx) => leaveMessages(tx, ids.map(message), NOW));
const left = async () =>
  (await database.pool.query('select message_id, attempts, last_error from unsent_message order by 1')).rows;
const send = (to: Publisher) => sendUnsent(database.pool, to, createLogger('silent', 'test'));
const makeDue = () => database.pool.query('update unsent_message set retry_at = null, claimed_until = null');

describe('messages that belong to no wallet', () => {
  it('are sent once each by the announcer, however often they are left', async () => {
    await leave('msg_a', 'msg_b');
    await leave('msg_b');
    const logger = createLogger('silent', 'test');
    const result = await announce({ pool: database.pool, publisher: publisher(), logger, maxSeconds: 5 });
    expect(result).toMatchObject({ messages: 2, failed: 0, unfinished: false });
    expect(sent.sort()).toEqual(['msg_a', 'msg_b']);
    expect(recorded.sort()).toEqual(sent);
    expect(await left()).toEqual([]);
  });

  it('are not there if the transaction that left them fails', async () => {
    const failing = transaction(database.pool, async (tx) => {
      await leaveMessages(tx, [message('msg_never')], NOW);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await send(publisher())).toMatchObject({ messages: 0 });
  });

  it('are tried again later, each by itself, and wait longer each time', async () => {
    await leave('msg_bad', 'msg_good', 'msg_later');
    const answer = (messageId: string): SendResult => {
      if (messageId === 'msg_bad') return { kind: 'failed', permanent: false, reason: 'away' };
      return messageId === 'msg_later' ? { kind: 'deferred', retryAfterSeconds: 7, reason: 'busy' } : { kind: 'sent' };
    };
    const first = await send(publisher(answer));
    expect(first).toEqual({ messages: 1, deferred: 1, failed: 1, unfinished: false, retryAfterSeconds: 2 });
    expect(await left()).toEqual([
      { message_id: 'msg_bad', attempts: 1, last_error: 'away' },
      { message_id: 'msg_later', attempts: 0, last_error: 'busy' },
    ]);
    // Not due yet.
    expect(await send(publisher())).toMatchObject({ messages: 0 });
    await makeDue();
    expect(await send(publisher(answer))).toMatchObject({ failed: 1, retryAfterSeconds: 4 });
    await makeDue();
    expect(await send(publisher())).toMatchObject({ messages: 2 });
    expect(await left()).toEqual([]);
  });

  it('are recorded once when a lease ends while they are being sent', async () => {
    await leave('msg_slow');
    const slow = publisher();
    const twice: Publisher = {
      ...slow,
      send: async (messages) => {
        await makeDue();
        await send(slow);
        return slow.send(messages);
      },
    };
    await send(twice);
    expect(sent).toEqual(['msg_slow', 'msg_slow']);
    expect(recorded).toEqual(['msg_slow']);
  });

  it('that cannot be claimed of one merchant keep nobody else’s from being sent', async () => {
    await leave('msg_mine');
    await database.pool.query(
      "insert into merchant (merchant_id, name, mode) values ('bus_another', 'Another', 'test') on conflict do nothing",
    );
    await transaction(database.pool, (tx) =>
      leaveMessages(tx, [{ ...message('msg_theirs'), merchantId: 'bus_another' }], NOW),
    );
    await database.pool.query(`
      create function refuse_claim() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
      create trigger refuse_claim before update on unsent_message for each row
      when (new.merchant_id = 'bus_another') execute function refuse_claim()`);
    // It is not tried, and warned of, again every second.
    expect(await send(publisher())).toMatchObject({ messages: 1, retryAfterSeconds: 15 });
    expect(sent).toEqual(['msg_mine']);
    await database.pool.query('drop trigger refuse_claim on unsent_message; drop function refuse_claim');
    expect(await send(publisher())).toMatchObject({ messages: 1 });
  });

  it('that cannot be put off are left to their leases, and the others are sent', async () => {
    await leave('msg_failing', 'msg_good');
    await database.pool.query(`
      create function refuse_put_off() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
      create trigger refuse_put_off before update on unsent_message for each row
      when (new.retry_at is not null) execute function refuse_put_off()`);
    const answer = (messageId: string): SendResult =>
      messageId === 'msg_failing' ? { kind: 'failed', permanent: false, reason: 'away' } : { kind: 'sent' };
    expect(await send(publisher(answer))).toMatchObject({ messages: 1, failed: 1 });
    await database.pool.query('drop trigger refuse_put_off on unsent_message; drop function refuse_put_off');
    expect(await left()).toMatchObject([{ message_id: 'msg_failing' }]);
  });

  it('of one merchant, however many wait, are sent beside those of others that came later', async () => {
    await leave(...Array.from({ length: 230 }, (_, index) => `msg_many_${String(index).padStart(3, '0')}`));
    await database.pool.query(
      "insert into merchant (merchant_id, name, mode) values ('bus_calm', 'Calm', 'test') on conflict do nothing",
    );
    const later = new Date(NOW.getTime() + 60_000);
    await transaction(database.pool, (tx) =>
      leaveMessages(tx, [{ ...message('msg_calm'), merchantId: 'bus_calm' }], later),
    );
    expect(await send(publisher())).toMatchObject({ messages: 101, unfinished: true });
    expect(sent).toContain('msg_calm');
    expect(await send(publisher())).toMatchObject({ messages: 100, unfinished: true });
    expect(await send(publisher())).toMatchObject({ messages: 30, unfinished: false });
  });

  describe('of one merchant, of whom more wait than are sent at a time,', () => {
    beforeAll(async () => {
      await database.pool.query(
        `insert into merchant (merchant_id, name, mode)
         select 'bus_turn_' || lpad(n::text, 2, '0'), 'Turn', 'test' from generate_series(1, 60) n`,
      );
    });
    beforeEach(() => leaveMany('bus_default', 400, { payload: '{}', since: NOW }));

    const later = new Date(NOW.getTime() + 60_000);
    const leaveMany = (merchants: string, count: number, { payload, since }: { payload: string; since: Date }) =>
      database.pool.query(
        `insert into unsent_message (merchant_id, message_id, event_type, payload, since)
         select merchant_id, 'msg_' || merchant_id || '_' || lpad(n::text, 3, '0'), 'payment.reconciled', $3, $4
         from merchant, generate_series(1, $2::int) n where merchant_id like $1`,
        [merchants, count, payload, since],
      );
    const heard = () => new Set(sent.map((id) => id.replace(/_\d+$/, '')).filter((id) => id.includes('turn')));

    it('leave each of many others a turn, though those before him have more', async () => {
      await leaveMany('bus_turn_%', 30, { payload: '{}', since: later });
      for (let round = 0; round < 3; round += 1) await send(publisher());
      expect(heard().size).toBe(60);
    });

    it('leave another his turn of whom the first are put off', async () => {
      await leaveMany('bus_turn_07', 150, { payload: '{}', since: later });
      await database.pool.query(
        "update unsent_message set retry_at = now() + interval '1 hour' where message_id < 'msg_bus_turn_07_140' and merchant_id = 'bus_turn_07'",
      );
      await send(publisher());
      expect(heard().size).toBe(1);
    });

    it('are claimed beside large ones of others that have no more than their share of the bytes', async () => {
      await leaveMany('bus_turn_%', 1, { payload: 'x'.repeat(200_000), since: later });
      let bytes = 0;
      const counting: Publisher = {
        ...publisher(),
        record: async (_tx, messages) => {
          for (const { payload } of messages) bytes += payload.length;
        },
      };
      await send(counting);
      expect(bytes).toBeGreaterThan(200_000);
      expect(bytes).toBeLessThanOrEqual(1024 * 1024);
      for (let round = 0; round < 2; round += 1) await send(publisher());
      // Those who found no room are the next.
      expect(heard().size).toBe(6);
    });
  });

  it('are taken off together that were handed over at once, and one that cannot be recorded keeps no other', async () => {
    await leave('msg_a', 'msg_b', 'msg_c');
    const together: (readonly string[])[] = [];
    const refusing: Publisher = {
      ...publisher(),
      record: async (_tx, messages) => {
        together.push(messages.map(({ messageId }) => messageId));
        if (together.at(-1)?.includes('msg_b')) throw new Error('not this one');
      },
    };
    await expect(send(refusing)).resolves.toMatchObject({ messages: 2, failed: 1 });
    expect(together[0]).toEqual(['msg_a', 'msg_b', 'msg_c']);
    expect(await left()).toMatchObject([{ message_id: 'msg_b', attempts: 1 }]);
    await makeDue();
    expect(await send(publisher())).toMatchObject({ messages: 1 });
    expect(recorded).toEqual(['msg_b']);
  });

  it('leave the wallets room: a hundred at a time, and then the announcer comes again', async () => {
    await leave(...Array.from({ length: 104 }, (_, index) => `msg_${index}`));
    expect(await send(publisher())).toMatchObject({ messages: 100, unfinished: true });
    expect(await send(publisher())).toMatchObject({ messages: 4, unfinished: false });
  });

  it('are taken off without a claim where nobody hears their merchant, beside those of others', async () => {
    const other = 'bus_heard';
    await database.pool.query("insert into merchant (merchant_id, name, mode) values ($1, 'Heard', 'test')", [other]);
    await transaction(database.pool, (tx) =>
      leaveMessages(tx, [...['msg_a', 'msg_b'].map(message), { ...message('msg_heard'), merchantId: other }], NOW),
    );
    const asked: (readonly string[])[] = [];
    const unheard = async (_db: unknown, merchantIds: readonly string[]) => {
      asked.push(merchantIds);
      return merchantIds.filter((one) => one === MERCHANT);
    };
    const result = await send({ ...publisher(), unheard });
    expect([sent, recorded, await left()]).toEqual([['msg_heard'], ['msg_heard'], []]);
    expect(result).toMatchObject({ messages: 1, unfinished: false });
    // Of all of them first, and then of each once its messages are locked.
    expect(asked).toEqual([[MERCHANT, other], [MERCHANT]]);
  });

  it('are told of where an endpoint is there before they are taken off', async () => {
    await leave('msg_a');
    let isThere = false;
    const unheard = async (_db: unknown, merchantIds: readonly string[]) => {
      const before = isThere;
      isThere = true;
      return before ? [] : merchantIds;
    };
    await send({ ...publisher(), unheard });
    expect(sent).toEqual(['msg_a']);
  });

  it('stay with who sends them, though nobody hears them by now', async () => {
    await leave('msg_claimed', 'msg_free');
    await database.pool.query(
      "update unsent_message set claimed_until = now() + interval '1 hour' where message_id = 'msg_claimed'",
    );
    await send({ ...publisher(), unheard: async (_db, merchantIds) => merchantIds });
    expect(await left()).toMatchObject([{ message_id: 'msg_claimed' }]);
    expect(sent).toEqual([]);
  });

  it('are taken off by pages', async () => {
    await leave(...Array.from({ length: 1_003 }, (_, index) => `msg_${index}`));
    let asked = 0;
    const unheard = async (_db: unknown, merchantIds: readonly string[]) => {
      asked += 1;
      return merchantIds;
    };
    await send({ ...publisher(), unheard });
    expect([await left(), sent, asked]).toEqual([[], [], 4]);
  });
});
