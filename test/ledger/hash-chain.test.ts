import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { beginningOf, judgeHash, placeAfter } from '../../src/ledger/chain-check.ts';
import type { Entry, Wallet } from '../../src/ledger/entry.ts';
import { headOf } from '../../src/ledger/hash-chain.ts';
import { post } from '../../src/ledger/post.ts';
import { posting } from '../support/ledger.ts';
import { NOW, postInput, wallet } from '../support/wallets.ts';

/** As somebody writes it who has read the description alone (src/ledger/README.md). */
const sha256 = (...parts: (string | Buffer)[]) => {
  const made = createHash('sha256');
  for (const part of parts) made.update(part);
  return made.digest('hex');
};
const H0 = sha256('chokin-1\0bus_default\0cus_a\0USD');
const following = (previous: string, text: string) => sha256(Buffer.from(previous, 'hex'), text);

function posted(from: Wallet, postings: Parameters<typeof post>[0]): { entries: readonly Entry[]; wallet: Wallet } {
  const { entries, wallets } = post(postings, postInput([from]));
  return { entries, wallet: wallets[0] ?? from };
}

describe('the chain of hashes', () => {
  it('is what its description says, from the name of the wallet on', () => {
    const metadata = { b: 'ü', a: 1.5, 10: true, 9: false };
    const { entries, wallet: changed } = posted(wallet(), [
      posting({ amountMinor: 500, idempotencyKey: 'api:k', reason: 'Welcome', referenceObjectId: 'ord_1', metadata }),
      posting({ amountMinor: 20, isCredit: false }),
    ]);
    const texts = `"${sha256('api:k')}","${sha256('Welcome')}","${sha256('ord_1')}","${sha256('{"10":true,"9":false,"a":1.5,"b":"ü"}')}"`;
    const first = following(H0, `[1,500,true,"merchant_adjustment",0,500,${NOW.getTime()},${texts}]`);
    const second = following(first, `[2,20,false,"merchant_adjustment",500,480,${NOW.getTime()},null,null,null,null]`);
    expect(entries.map(({ hash }) => hash)).toEqual([first, second]);
    expect(changed).toMatchObject({ head: second, headVersion: 2 });
    expect(headOf(changed)).toBe(second);
  });

  it('goes over the date of account of an entry that has one', () => {
    const effectiveAt = new Date('2026-02-28T23:59:59Z');
    const { entries } = posted(wallet(), [posting({ amountMinor: 5, effectiveAt }), posting({ amountMinor: 6 })]);
    const text = `[1,5,true,"merchant_adjustment",0,5,${NOW.getTime()},null,null,null,null,${effectiveAt.getTime()}]`;
    const first = following(H0, text);
    const next = `[2,6,true,"merchant_adjustment",5,11,${NOW.getTime()},null,null,null,null]`;
    expect(entries.map(({ hash }) => hash)).toEqual([first, following(first, next)]);
  });

  it('begins with an anchor after entries of an older release, which wrote none', () => {
    const { entries } = posted(wallet({ version: 7, balance: 30 }), [posting({ amountMinor: 5 })]);
    const anchor = following(H0, '[7,30]');
    const text = `[8,5,true,"merchant_adjustment",30,35,${NOW.getTime()},null,null,null,null]`;
    expect(entries[0]?.hash).toBe(following(anchor, text));
  });

  it('begins anew where a process of the older release wrote the newest entry', () => {
    const { wallet: ours } = posted(wallet(), [posting({ amountMinor: 5 })]);
    const theirs = { ...ours, version: 2, balance: 10 };
    expect(headOf(theirs)).toBeNull();
    const { entries } = posted(theirs, [posting({ amountMinor: 5 })]);
    const text = `[3,5,true,"merchant_adjustment",10,15,${NOW.getTime()},null,null,null,null]`;
    expect(entries[0]?.hash).toBe(following(following(H0, '[2,10]'), text));
  });

  it.each<[string, Partial<Entry>]>([
    ['its amount', { amountMinor: 501 }],
    ['its direction', { isCredit: false }],
    ['its type', { eventType: 'payment' }],
    ['the balance before it', { beforeBalance: 1 }],
    ['the balance after it', { afterBalance: 1 }],
    ['its date of account', { effectiveAt: NOW }],
    ['its time', { createdAt: new Date(NOW.getTime() + 1) }],
    ['its key', { idempotencyKey: 'other' }],
    ['its reason', { reason: 'other' }],
    ['its reference', { referenceObjectId: null }],
    ['its metadata', { metadata: { calls: 4 } }],
    ['its number', { seq: 2 }],
    ['its wallet', { currency: 'INR' }],
    ['its customer', { customerId: 'cus_b' }],
    ['its merchant', { merchantId: 'bus_other' }],
  ])('shows that an entry was changed: %s', (_, change) => {
    const { entries } = posted(wallet(), [
      posting({ amountMinor: 500, reason: 'r', referenceObjectId: 'o', metadata: { calls: 3 }, idempotencyKey: 'k' }),
    ]);
    const [entry] = entries;
    if (entry === undefined) throw new Error('no entry');
    expect(judgeHash(beginningOf(entry), entry)).toBe('right');
    const changed = { ...entry, ...change };
    expect(judgeHash(beginningOf(changed), changed)).toBe('wrong');
  });

  it('is right in every history, and of any two histories that differ the heads differ', () => {
    const amounts = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 12 });
    const headsOf = (history: readonly number[]) => {
      const { entries } = posted(
        wallet(),
        history.map((amountMinor) => posting({ amountMinor })),
      );
      let place = beginningOf(wallet());
      for (const entry of entries) {
        expect(judgeHash(place, entry)).toBe('right');
        place = placeAfter(entry);
      }
      return place.hash;
    };
    fc.assert(
      fc.property(amounts, amounts, (one, other) => {
        expect(headsOf(one) === headsOf(other)).toBe(one.join() === other.join());
      }),
    );
  });
});
