import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Disagreement } from '../../src/audit/check.ts';
import { type AuditSettings, audit } from '../../src/audit/checks.ts';
import { startOfWeek } from '../../src/audit/marks.ts';
import { type ProofTimes, ProvedRules, readingOf } from '../../src/audit/proved-rules.ts';
import { runAudit } from '../../src/audit/run.ts';
import { createPool } from '../../src/db/pool.ts';
import { autocommit, type Queryable, Tx, transaction } from '../../src/db/transaction.ts';
import { nextHash, startOfChain } from '../../src/ledger/hash-chain.ts';
import { listEntries } from '../../src/ledger/history.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { WITHOUT_GUARDS } from '../support/tampering.ts';

/** Aims at audits that go on where the last one ended: what they read, what they find of what they do not read, and what they miss. */

const WALLET = "merchant_id = 'bus_default' and customer_id = 'cus_a' and currency = 'USD'";
const DAY_MS = 86_400_000;
let database: TestDatabase;
/** A Monday, so that the week began the day before. */
const NOW = new Date(startOfWeek(new Date()).getTime() + 8 * DAY_MS);

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a', 'b']);
  await credit(10);
  await audit(autocommit(database.pool), settings());
  await credit(1);
});
afterAll(() => database.drop());

const settings = (overrides: Partial<AuditSettings> = {}): AuditSettings => {
  return { rule: null, now: NOW, wholeSince: startOfWeek(NOW), ...overrides };
};
const NEXT_WEEK = new Date(NOW.getTime() + 7 * DAY_MS);
const nextWeek = () => settings({ now: NEXT_WEEK, wholeSince: startOfWeek(NEXT_WEEK) });
const LATER = new Date(NOW.getTime() + 3_600_000);
/** As with --full. */
const full = () => settings({ now: LATER, wholeSince: LATER });

const credit = (count: number, db: Tx | null = null) => {
  const postings = Array.from({ length: count }, () => posting({ amountMinor: 5 }));
  const post = (tx: Tx) => postBatch(tx, postings, { ...SETTINGS, now: new Date() });
  return db === null ? transaction(database.pool, post) : post(db);
};

/** Works as the owner of the database, whom no trigger stops; undone. */
async function tampering<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query(WITHOUT_GUARDS);
    return await work(new Tx(client));
  } finally {
    await client.query('rollback');
    client.release();
  }
}

const findings = async (db: Queryable, given: AuditSettings) =>
  (await audit(db, given)).disagreements
    .filter(({ subject }) => subject.includes('cus_a'))
    .map(({ rule, detail }) => `${rule}: ${detail}`);

describe('an audit that goes on from its marks', () => {
  it('reads what is new and the entry before it, and all of it in the next week or if it is asked to', async () => {
    await tampering(async (tx) => {
      const first = await audit(tx, settings());
      expect([first.read.entries, first.trialBalance, first.disagreements]).toEqual([2, null, []]);
      const second = await audit(tx, settings());
      expect([second.read.entries, second.trialBalance]).toEqual([0, null]);
      for (const all of [full(), nextWeek()]) {
        const { read, trialBalance, disagreements } = await audit(tx, all);
        expect([read.entries, trialBalance === null, disagreements]).toEqual([11, false, []]);
      }
    });
  });

  it('reads all and notes nothing where it may not write', async () => {
    const client = await database.pool.connect();
    await client.query('begin transaction read only');
    const { read, trialBalance } = await audit(new Tx(client), settings());
    await client.query('rollback');
    client.release();
    expect([read.entries, trialBalance === null]).toEqual([11, false]);
  });

  it('reads all and notes nothing as a user who may read marks alone', async () => {
    const url = new URL(database.ownerUrl);
    url.username = 'chokin_reads_marks';
    await database.pool.query('drop role if exists chokin_reads_marks');
    await database.pool.query(`create role chokin_reads_marks login password '${url.password}'`);
    await database.pool.query('grant pg_read_all_data to chokin_reads_marks');
    const logger = createLogger('silent', 'test');
    const pool = createPool({ databaseUrl: url.href, applicationName: 'test', maxConnections: 1, logger });
    try {
      const { read, trialBalance } = await audit(autocommit(pool), settings());
      expect([read.entries, trialBalance === null]).toEqual([11, false]);
    } finally {
      await pool.end();
      await database.pool.query('drop role chokin_reads_marks');
    }
  });

  it('goes on after a kill where it was', async () => {
    await makeCustomers(
      database.pool,
      Array.from({ length: 300 }, (_, index) => `z${index}`),
    );
    await transaction(database.pool, (tx) => {
      const postings = Array.from({ length: 300 }, (_, index) =>
        posting({ customerId: `cus_z${index}`, amountMinor: 1 }),
      );
      return postBatch(tx, postings, { ...SETTINGS, now: new Date() });
    });
    await tampering(async (tx) => {
      let pages = 0;
      const dying: Queryable = {
        query: (statement, values) => tx.query(statement, values),
        queryArrays: (statement, values) => {
          const sql = typeof statement === 'string' ? statement : statement.text;
          pages += sql.includes('as mark_seq') ? 1 : 0;
          if (pages === 2) throw new Error('killed');
          return tx.queryArrays(statement, values);
        },
      };
      await expect(audit(dying, nextWeek())).rejects.toThrow('killed');
      const { read, disagreements } = await audit(tx, nextWeek());
      expect(disagreements).toEqual([]);
      // Of 311 entries, those of the first 500 wallets were proved.
      expect(read.wallets).toBe(604);
      expect(read.entries).toBeLessThan(100);
      expect(read.entries).toBeGreaterThan(0);
    });
  });

  it('says how far it is, and that the books agree', async () => {
    const lines: string[] = [];
    const logger = createLogger('info', 'test', { write: (line: string) => void lines.push(line) });
    await runAudit({ pool: database.pool, clock: { now: () => NOW }, logger, rule: null });
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ msg: 'the books agree', wallets: 604, entries: 302 });
  });
});

describe('of what was tampered with', () => {
  beforeAll(async () => {
    await database.pool.query('delete from audit_mark');
    await audit(autocommit(database.pool), settings());
    await credit(1);
  });

  it.each([
    ['a new entry', `update entry set reason = 'x' where ${WALLET} and seq = 12`, /^3b hash chain: entry 12 /],
    [
      'the amount of a new entry',
      `update entry set amount = 6, after_balance = 61 where ${WALLET} and seq = 12`,
      /^3b hash chain: entry 12 /,
    ],
    [
      'the last proved entry',
      `update entry set hash = sha256('x') where ${WALLET} and seq = 11`,
      /^3c proved before: entry 11 is not/,
    ],
    [
      'the balance',
      `update wallet set balance = balance + 1 where ${WALLET}`,
      /^2 agreement: balance 61, entries sum to 60/,
    ],
    ['the head', `update wallet set head = sha256('x') where ${WALLET}`, /^3b hash chain: its head/],
    [
      'the wallet, which was restored without its last entries',
      `delete from entry where ${WALLET} and seq > 9;
       update wallet w set version = 9, head_version = 9, balance = 45, head = e.hash, updated_at = e.created_at from entry e
       where w.merchant_id = e.merchant_id and w.customer_id = e.customer_id and w.currency = e.currency and e.seq = 9
         and w.merchant_id = 'bus_default' and w.customer_id = 'cus_a' and w.currency = 'USD'`,
      /^3c proved before: 11 entries were proved, and it has 9/,
    ],
    ['a mark’s hash', `update audit_mark set head = sha256('x') where ${WALLET}`, /^3c proved before: entry 11 is not/],
    ['a mark’s balance', `update audit_mark set balance = 1 where ${WALLET}`, /^3c proved before: entry 11 is not/],
    ['a mark, moved back', `update audit_mark set seq = 3 where ${WALLET}`, /^3c proved before: entry 3 is not/],
    [
      'a mark, moved beyond the newest entry',
      `update audit_mark set seq = 99 where ${WALLET}`,
      /^3c proved before: 99 /,
    ],
    [
      'a mark, moved to a newest entry that was tampered with',
      `update entry set amount = 6, after_balance = 61 where ${WALLET} and seq = 12;
       update audit_mark set seq = 12, balance = 61 where ${WALLET}`,
      /^2 agreement: balance 60, entries sum to 61/,
    ],
    [
      'an old entry, under a mark of a time to come',
      `update entry set reason = 'x' where ${WALLET} and seq = 2;
       update audit_mark set whole_at = (whole_at at time zone 'UTC' + interval '1 year') at time zone 'UTC' where ${WALLET}`,
      /^3b hash chain: entry 2 /,
    ],
    [
      'the wallet itself',
      `delete from entry where ${WALLET}; delete from wallet where ${WALLET}`,
      /^3c proved before: 11 entries were proved, and there is no/,
    ],
  ])('%s is found at once, and by every run until it is mended', async (_, sql, expected) => {
    await tampering(async (tx) => {
      await tx.query(sql);
      for (const given of [settings(), settings(), nextWeek()]) {
        expect(await findings(tx, given)).toContainEqual(expect.stringMatching(expected));
      }
    });
  });

  it('an old entry is found when its wallet is read from the first entry on, which is once a week', async () => {
    await tampering(async (tx) => {
      await tx.query(`update entry set reason = 'x' where ${WALLET} and seq = 2`);
      expect(await findings(tx, settings())).toEqual([]);
      expect(await findings(tx, full())).toContainEqual(expect.stringMatching(/^3b hash chain: entry 2 /));
      expect(await findings(tx, nextWeek())).toContainEqual(expect.stringMatching(/^3b hash chain: entry 2 /));
    });
  });

  it('entries of a release without hashes, after those that were proved, are no disagreement', async () => {
    await tampering(async (tx) => {
      await tx.query(`update entry set hash = null where ${WALLET} and seq > 10`);
      await tx.query(
        `update wallet set head_version = 10, head = (select hash from entry where ${WALLET} and seq = 10) where ${WALLET}`,
      );
      await tx.query(`update audit_mark set head = null where ${WALLET} and seq = 11`);
      // In a whole run the database is minutes old, and so is what was noted when it was made.
      await tx.query('update installation set release_closed_at = now()');
      for (const given of [settings(), settings(), nextWeek()]) expect(await findings(tx, given)).toEqual([]);
    });
  });

  it('what the sums over all entries find is found by the runs after that one too', async () => {
    await tampering(async (tx) => {
      const key = { merchantId: MERCHANT, customerId: 'cus_a' };
      const all = {
        currency: 'USD',
        eventType: null,
        createdFrom: null,
        createdTo: null,
        afterSeq: null,
        beforeSeq: null,
      };
      const [newest, before] = await listEntries(tx, key, { ...all, pageSize: 2, pageNumber: 0 });
      if (newest === undefined || !before?.hash) throw new Error('two entries with hashes');
      const createdAt = new Date(before.createdAt.getTime() - DAY_MS);
      const hash = nextHash(before.hash, { ...newest, createdAt });
      const changed = [createdAt, hash];
      await tx.query(
        `update entry set created_at = $1, hash = decode($2, 'hex') where ${WALLET} and seq = ${newest.seq}`,
        changed,
      );
      await tx.query(`update wallet set updated_at = $1, head = decode($2, 'hex') where ${WALLET}`, changed);
      await tx.query('delete from audit_mark');
      for (const given of [settings(), settings(), nextWeek(), nextWeek()]) {
        const found = await findings(tx, given);
        expect(found).toEqual([expect.stringMatching(/^3 chain: /)]);
      }
    });
  });

  it('a history that was written anew, with every hash and the head, is found by the hash that was proved', async () => {
    await tampering(async (tx) => {
      const key = { merchantId: MERCHANT, customerId: 'cus_a' };
      const all = {
        currency: 'USD',
        eventType: null,
        createdFrom: null,
        createdTo: null,
        afterSeq: null,
        beforeSeq: null,
      };
      const entries = await listEntries(tx, key, { ...all, pageSize: 100, pageNumber: 0 });
      let hash = startOfChain({ ...key, currency: 'USD', version: 0, balance: 0 });
      for (const entry of entries.toReversed()) {
        const reason = entry.seq === 2 ? 'forged' : null;
        hash = nextHash(hash, { ...entry, reason });
        await tx.query(`update entry set reason = $1, hash = decode($2, 'hex') where ${WALLET} and seq = $3`, [
          reason,
          hash,
          entry.seq,
        ]);
      }
      await tx.query(`update wallet set head = decode($1, 'hex') where ${WALLET}`, [hash]);
      for (const given of [settings(), nextWeek(), full()]) {
        expect(await findings(tx, given)).toEqual(['3c proved before: entry 11 is not the one that was proved']);
      }
    });
  });
});

describe('of rules about what becomes ever more', () => {
  const night = (days: number) => {
    const now = new Date(NEXT_WEEK.getTime() + days * DAY_MS);
    return settings({ now, wholeSince: startOfWeek(now) });
  };
  const CAPTURE = `insert into hold_capture (merchant_id, customer_id, currency, seq, hold_no, from_hold, beyond)
    values ('bus_default', 'cus_a', 'USD', 2, 1, 5, 0)`;
  const OF_CAPTURE = /^8c holds: a capture is an entry/;

  it('what is new is read by the next run, and what was proved before by the weekly one', async () => {
    await tampering(async (tx) => {
      await audit(tx, settings());
      await tx.query(CAPTURE);
      expect(await findings(tx, settings())).toEqual([]);
      expect(await findings(tx, nextWeek())).toContainEqual(expect.stringMatching(OF_CAPTURE));
    });
    // Entries of this moment are new to a run that goes on from one of two days ago.
    const now = new Date();
    const tonight = () => settings({ now, wholeSince: startOfWeek(now) });
    await tampering(async (tx) => {
      await tx.query('update audit_rule set whole_at = $1, proved_at = $1', [now]);
      await tx.query(CAPTURE);
      for (const given of [tonight(), tonight()])
        expect(await findings(tx, given)).toContainEqual(expect.stringMatching(OF_CAPTURE));
    });
  });

  it('what a proof of all rows found is named until all are proved again, and no night reads all of them for it', async () => {
    await tampering(async (tx) => {
      await tx.query(CAPTURE);
      await tx.query(`update wallet set balance = balance + 1 where ${WALLET}`);
      for (const [given, isWhole] of [
        [night(0), true],
        [night(1), false],
        [night(2), false],
        [night(7), true],
        [night(8), false],
      ] as const) {
        const { disagreements, trialBalance } = await audit(tx, given);
        const rules = disagreements.map(({ rule }) => rule.split(' ')[0]);
        expect([trialBalance !== null, rules.filter((rule) => rule === '1'), rules.includes('8c')]).toEqual([
          isWhole,
          ['1'],
          true,
        ]);
      }
      await tx.query("delete from hold_capture where customer_id = 'cus_a'");
      await tx.query(`update wallet set balance = balance - 1 where ${WALLET}`);
      expect((await audit(tx, night(9))).disagreements.map(({ rule }) => rule.split(' ')[0])).toContain('8c');
      const tenth = new Date(NEXT_WEEK.getTime() + 10 * DAY_MS);
      const all = settings({ now: tenth, wholeSince: tenth });
      expect((await audit(tx, all)).disagreements).toEqual([]);
      expect((await audit(tx, night(11))).disagreements).toEqual([]);
    });
  });

  it('what is too long for an index is named in full, kept as far as it fits, and forgotten once it is mended', async () => {
    await tampering(async (tx) => {
      const rule = '9h a rule';
      // As an entry that drains thousands of lots, under a key that cannot be made shorter.
      const words = Array.from({ length: 5_000 }, (_, lot) => `${randomUUID()} of lot ${lot}`).join(', ');
      const long = { rule, subject: '\u{1f0a1}'.repeat(2_000), detail: words };
      const proveOn = async (marking: ProofTimes, found: readonly Disagreement[]) =>
        (await ProvedRules.read(tx, marking)).prove([rule], () => Promise.resolve(found));
      const first = { now: NOW, wholeSince: startOfWeek(NOW) };
      expect(await proveOn(first, [long, { ...long, detail: words.toUpperCase() }])).toHaveLength(2);
      const kept = await proveOn({ ...first, now: LATER }, []);
      expect(kept).toHaveLength(2);
      expect(words.startsWith(kept.map(({ detail }) => detail).find((one) => one === one.toLowerCase()) ?? '-')).toBe(
        true,
      );
      const full = { now: LATER, wholeSince: LATER };
      expect(await proveOn(full, [long])).toEqual([long]);
      expect(await proveOn({ ...full, now: new Date(LATER.getTime() + 1) }, [])).toHaveLength(1);
    });
  });

  it('says what it looks at', async () => {
    await tampering(async (tx) => {
      const rules: string[] = [];
      await audit(tx, { ...settings(), onProgress: ({ rule }) => void rules.push(rule) });
      expect(rules).toEqual(
        expect.arrayContaining([
          '1 conservation',
          '9h lots: each entry moved in them what their order says',
          '3b hash chain',
        ]),
      );
    });
  });

  it('a time to come was noted by no audit', () => {
    const [proved, later] = [new Date('2026-11-30'), new Date('2026-12-01')];
    const marking = { wholeSince: new Date('2026-11-29'), now: proved };
    const noted = (wholeAt: Date, provedAt: Date) => readingOf({ rule: 'x', wholeAt, provedAt }, marking).kind;
    expect([noted(proved, proved), noted(later, proved), noted(proved, later)]).toEqual(['new', 'all', 'all']);
    expect(readingOf(undefined, marking)).toEqual({ kind: 'all' });
    expect(noted(new Date('2026-11-28'), proved)).toBe('all');
  });
});

it('the week begins on Sunday in UTC', () => {
  expect(startOfWeek(new Date('2026-11-29T00:00:00Z'))).toEqual(new Date('2026-11-29T00:00:00Z'));
  expect(startOfWeek(new Date('2026-11-28T23:59:59Z'))).toEqual(new Date('2026-11-22T00:00:00Z'));
});
