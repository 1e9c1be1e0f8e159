import { describe, expect, it } from 'vitest';
import type { Entry } from '../../src/ledger/entry.ts';
import type { PostingResult } from '../../src/ledger/post.ts';
import { afterTry, isTimeToCome, postingOf, type ScheduledEntry } from '../../src/schedules/scheduled-entry.ts';
import { MERCHANT, posting } from '../support/ledger.ts';
import { wallet } from '../support/wallets.ts';

const POST_AT = new Date('2026-03-10T12:00:00Z');
const later = (days: number, from = POST_AT) => new Date(from.getTime() + days * 86_400_000);

function scheduled(overrides: Partial<ScheduledEntry> = {}): ScheduledEntry {
  return {
    ...{ merchantId: MERCHANT, customerId: 'cus_a', scheduledEntryId: 'sen_1', currency: 'USD', amountMinor: 100 },
    ...{ isCredit: false, reason: 'Plan', referenceObjectId: null, metadata: { plan: 'a' } },
    ...{ lotKind: null, lotName: null, lotPriority: null, lotExpiresAt: null, lotDays: null },
    ...{ postAt: POST_AT, onShortfall: 'skip', idempotencyKey: 'api:k', fingerprint: '00', actor: 'operator' },
    ...{ state: 'scheduled', dueAt: POST_AT, tries: 0, entrySeq: null, skippedFor: null },
    ...{ createdAt: later(-1), endedAt: null },
    ...overrides,
  };
}

const short: PostingResult = {
  kind: 'refused',
  refusal: { code: 'INSUFFICIENT_WALLET_FUNDS', currency: 'USD', available: 1, required: 100, shortfall: 99 },
};

describe('the posting of a scheduled entry', () => {
  it('is the same whenever it is made, and says for when it was', () => {
    expect(postingOf(scheduled())).toEqual(
      posting({
        ...{ amountMinor: 100, isCredit: false, reason: 'Plan', idempotencyKey: 'sched:sen_1' },
        metadata: { plan: 'a', post_at: '2026-03-10T12:00:00.000Z' },
      }),
    );
  });

  it('has the end of its terms counted from when it is due', () => {
    const own = scheduled({ isCredit: true, lotKind: 'promo', lotPriority: 50, lotDays: 30 });
    expect(postingOf(own).terms).toEqual({ kind: 'promo', name: null, priority: 50, end: { at: later(30) } });
    const other = scheduled({ isCredit: true, lotKind: 'adjustment', lotPriority: 10 });
    expect(postingOf(other).terms).toEqual({ kind: 'adjustment', name: null, priority: 10, end: null });
  });
});

describe('a scheduled entry that was tried', () => {
  const now = later(0.001);

  it('is posted, also where its entry was there before', () => {
    const entry: Entry = {
      ...{ ...posting({ amountMinor: 100 }), seq: 7, beforeBalance: 0, afterBalance: 100 },
      ...{ fingerprint: null, createdAt: now, effectiveAt: null, hash: null },
    };
    const ended = { state: 'posted', entrySeq: 7, dueAt: null, endedAt: now };
    expect(afterTry(scheduled(), { kind: 'created', entry, wallet: wallet() }, now)).toMatchObject(ended);
    expect(afterTry(scheduled(), { kind: 'repeated', entry, wallet: null }, now)).toMatchObject(ended);
  });

  it('is skipped for want of money', () => {
    const skipped = { state: 'skipped', skippedFor: 'INSUFFICIENT_WALLET_FUNDS', dueAt: null, endedAt: now };
    expect(afterTry(scheduled(), short, now)).toMatchObject(skipped);
  });

  it('is tried again every day for a week where that is wanted, and then skipped', () => {
    let own = scheduled({ onShortfall: 'retry' });
    for (let day = 1; day <= 7; day += 1) {
      own = afterTry(own, short, later(0.001, own.dueAt ?? POST_AT));
      expect(own).toMatchObject({ state: 'scheduled', tries: day, dueAt: later(day) });
    }
    expect(afterTry(own, short, later(7.001))).toMatchObject({ state: 'skipped', tries: 7 });
  });

  it('is tried a day later where the worker was away for longer', () => {
    const own = scheduled({ onShortfall: 'retry' });
    expect(afterTry(own, short, later(10))).toMatchObject({ tries: 1, dueAt: later(11) });
  });

  it.each(['BALANCE_LIMIT_EXCEEDED', 'LOT_LIMIT_EXCEEDED', 'EXPIRY_IN_THE_PAST'] as const)(
    'is skipped for %s, whatever is wanted',
    (code) => {
      const refusal = { code, most: 1, limit: 1 };
      expect(afterTry(scheduled({ onShortfall: 'retry' }), { kind: 'refused', refusal }, now)).toMatchObject({
        ...{ state: 'skipped', skippedFor: code },
      });
    },
  );

  it.each(['UNSUPPORTED_CURRENCY', 'LOTS_NOT_YET'] as const)(
    'is put off for an hour for %s, which is not its own fault',
    (code) => {
      const refusal = { code, currency: 'USD', supported: [] };
      const after = afterTry(scheduled(), { kind: 'refused', refusal }, now);
      expect(after).toMatchObject({ state: 'scheduled', tries: 0, dueAt: new Date(now.getTime() + 3_600_000) });
    },
  );
});

it('a time to come is 400 days ahead at most', () => {
  expect([later(0), later(1), later(400), later(400.001)].map((at) => isTimeToCome(at, POST_AT))).toEqual([
    false,
    true,
    true,
    false,
  ]);
});
