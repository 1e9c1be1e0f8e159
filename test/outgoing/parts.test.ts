import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ClaimedEntry } from '../../src/ledger/claimed.ts';
import type { ClaimedWallet } from '../../src/ledger/outbox.ts';
import { buildMessages, MAX_ENTRY_BYTES, wholeMessages } from '../../src/outgoing/messages.ts';
import { countFitting, firstPart, inGroups, MAX_LOADED_BYTES } from '../../src/outgoing/parts.ts';

const NOW = new Date('2026-02-01T00:00:00.000Z');
const KEY = { merchantId: 'bus_1', customerId: 'cus_1', currency: 'USD' };

function claim(overrides: Partial<ClaimedWallet> = {}): ClaimedWallet {
  const range = { fromVersion: 0, toVersion: 10, fromAlertSeq: 0, toAlertSeq: 2 };
  return { ...KEY, ...range, attempts: 0, createdAt: NOW, traceParent: null, ...overrides };
}

function entry(seq: number, metadataBytes: number): ClaimedEntry {
  return {
    ...KEY,
    seq,
    amountMinor: 10,
    isCredit: true,
    eventType: 'payment',
    beforeBalance: (seq - 1) * 10,
    afterBalance: seq * 10,
    reason: null,
    referenceObjectId: null,
    metadata: { note: 'x'.repeat(metadataBytes) },
    idempotencyKey: null,
    fingerprint: null,
    hash: null,
    createdAt: new Date(NOW.getTime() + seq),
    effectiveAt: null,
  };
}

describe('the first part of a claim', () => {
  test('is all of it, alerts included, when it fits', () => {
    const whole = claim();
    const sizes = Array.from({ length: 10 }, () => 100);
    expect(firstPart(whole, { entries: sizes, alerts: 90_000 }, 1000)).toEqual({
      claim: whole,
      toVersion: 10,
      toAlertSeq: 2,
      isLast: true,
      bytes: 91_000,
    });
  });

  test.each([
    ['as many entries as fit', [400, 400, 200, 1], 3],
    ['one at least, however large', [5000, 1], 1],
    ['none behind one that does not fit', [400, 700, 1], 1],
  ])('takes %s, and leaves the alerts to the last', (_, sizes, count) => {
    const part = firstPart(claim(), { entries: sizes, alerts: 90_000 }, 1000);
    expect(part).toMatchObject({ toVersion: count, toAlertSeq: 0, isLast: false });
    expect(part.bytes).toBe(sizes.slice(0, count).reduce((sum, size) => sum + size));
  });

  test('of a wallet that is new, or of one with nothing to read, is all of it', () => {
    expect(
      firstPart(claim({ fromVersion: -1, toVersion: 0, toAlertSeq: 0 }), { entries: [], alerts: 0 }),
    ).toMatchObject({
      toVersion: 0,
      isLast: true,
      bytes: 0,
    });
    // Entries that are missing are not skipped: such a claim fails as a whole.
    expect(firstPart(claim(), { entries: [], alerts: 0 })).toMatchObject({ toVersion: 10, isLast: true });
  });
});

describe('what is read at once', () => {
  const parts = [{ bytes: 3 }, { bytes: MAX_LOADED_BYTES - 3 }, { bytes: 1 }];

  test.each([
    ['all that fits, in order', parts, 0, 2],
    ['only what fits beside what is loaded', parts, MAX_LOADED_BYTES - 3, 1],
    ['nothing while what is loaded leaves no room', parts, MAX_LOADED_BYTES - 2, 0],
    ['one that is larger than all, alone', [{ bytes: MAX_LOADED_BYTES * 2 }, { bytes: 1 }], 0, 1],
    ['nothing of nothing', [], 0, 0],
  ])('is %s', (_, waiting, loaded, count) => {
    expect(countFitting(waiting, loaded)).toBe(count);
  });

  test('leaves for the database in groups by bytes and by number', () => {
    const groups = (...sizes: number[]) => inGroups(sizes, (size) => size, { bytes: 10, count: 3 });
    expect(groups(4, 6, 1, 1, 1, 1, 50, 2)).toEqual([[4, 6], [1, 1, 1], [1], [50], [2]]);
    expect(groups()).toEqual([]);
  });
});

describe('messages', () => {
  const toldWhole = (entries: readonly ClaimedEntry[]) =>
    buildMessages({ ...claim({ toVersion: entries.length, toAlertSeq: 0 }), entries, alerts: [] });

  /** As the announcer tells it: a part, and from where that ended the next. */
  function toldInParts(entries: readonly ClaimedEntry[], maxBytes: number) {
    const messages = [];
    for (let from = 0; from < entries.length; ) {
      const whole = claim({ fromVersion: from, toVersion: entries.length, toAlertSeq: 0 });
      const sizes = entries.slice(from).map((one) => JSON.stringify(one).length);
      const part = firstPart(whole, { entries: sizes, alerts: 0 }, maxBytes);
      const read = entries.slice(from, part.toVersion);
      const told = part.isLast ? read : wholeMessages(read);
      const toVersion = told.at(-1)?.seq ?? 0;
      messages.push(...buildMessages({ ...whole, toVersion, entries: told, alerts: [] }));
      from = toVersion;
    }
    return messages;
  }

  test('of a claim that is told in parts are those of the claim told at once, to the byte', () => {
    const size = fc.oneof(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 500, max: 60_000 }));
    fc.assert(
      fc.property(
        fc.array(size, { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 100_000, max: 400_000 }),
        (sizes, maxBytes) => {
          const entries = sizes.map((bytes, index) => entry(index + 1, bytes));
          expect(toldInParts(entries, maxBytes)).toEqual(toldWhole(entries));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('stay below 256 KiB: an entry that is larger by its metadata is told without it', () => {
    const overhead = JSON.stringify(toldData(entry(1, 0))).length;
    const largest = entry(1, MAX_ENTRY_BYTES - overhead);
    const tooLarge = entry(2, MAX_ENTRY_BYTES - overhead + 1);
    const unread = { ...entry(3, 0), metadata: null, metadataOmitted: true };
    const messages = toldWhole([largest, tooLarge, unread]);
    for (const { payload } of messages) expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(256 * 1024);
    const told = messages.flatMap(({ payload }) => JSON.parse(payload).data.entries);
    expect(told[0].metadata.note).toHaveLength(MAX_ENTRY_BYTES - overhead);
    expect(told[0]).not.toHaveProperty('metadata_omitted');
    for (const one of told.slice(1)) expect(one).toMatchObject({ metadata: null, metadata_omitted: true });
    expect(told.map(({ amount, after_balance }) => [amount, after_balance])).toEqual([
      [10, 10],
      [10, 20],
      [10, 30],
    ]);
  });

  function toldData(one: ClaimedEntry): unknown {
    return JSON.parse(toldWhole([one])[0]?.payload ?? '').data.entries[0];
  }
});
