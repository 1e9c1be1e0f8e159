import { describe, expect, it } from 'vitest';
import { idempotencyText } from '../../src/ledger/entry.ts';
import { fingerprint, post } from '../../src/ledger/post.ts';
import { posting } from '../support/ledger.ts';
import { NOW, postInput, wallet } from '../support/wallets.ts';

const daysBack = (days: number) => new Date(NOW.getTime() - days * 86_400_000);

describe('a date of account', () => {
  it.each([
    ['now', 0, true],
    ['90 days back', 90, true],
    ['91 days back', 91, false],
    ['a moment more than 90 days back', 90 + 1e-7, false],
    ['a moment to come', -1e-7, false],
  ])('%s is within its bounds or not', (_, days, isGood) => {
    const effectiveAt = daysBack(days);
    const { outcomes, entries } = post([posting({ amountMinor: 5, effectiveAt })], postInput([wallet()]));
    if (isGood) expect(entries).toMatchObject([{ effectiveAt, createdAt: NOW }]);
    else expect(outcomes).toMatchObject([{ refusal: { code: 'EFFECTIVE_AT_OUT_OF_RANGE', mostDays: 90 } }]);
  });

  it('is in the fingerprint where there is one, and changes none that was made without', () => {
    const plain = posting({ amountMinor: 5, idempotencyKey: 'api:k' });
    expect(fingerprint({ ...plain, effectiveAt: null })).toBe(fingerprint(plain));
    const dated = [daysBack(0), daysBack(1)].map((effectiveAt) => fingerprint({ ...plain, effectiveAt }));
    const terms = { kind: 'promo', name: null, priority: 50, end: null } as const;
    const lot = [fingerprint({ ...plain, terms }), fingerprint({ ...plain, terms, effectiveAt: daysBack(0) })];
    expect(new Set([fingerprint(plain), ...dated, ...lot]).size).toBe(5);
  });

  it('is no reason to refuse what was written before under the key, however long ago', () => {
    const dated = posting({ amountMinor: 5, idempotencyKey: 'api:k', effectiveAt: daysBack(89) });
    const first = post([dated], postInput([wallet()]));
    const [entry] = first.entries;
    if (entry === undefined) throw new Error('nothing was written');
    const known = new Map([[idempotencyText(entry), entry]]);
    const later = new Date(NOW.getTime() + 30 * 86_400_000);
    const again = post([dated], postInput(first.wallets, { known, now: later }));
    expect(again.outcomes).toMatchObject([{ kind: 'repeated', entry: { seq: 1 } }]);
    const other = post([{ ...dated, effectiveAt: daysBack(1) }], postInput(first.wallets, { known }));
    expect(other.outcomes).toMatchObject([{ refusal: { code: 'IDEMPOTENCY_KEY_REUSED' } }]);
  });
});
