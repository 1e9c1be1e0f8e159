import { describe, expect, it } from 'vitest';
import {
  CONTRA_ACCOUNTS,
  EVENT_TYPES,
  entryId,
  MAY_OVERDRAW,
  parseEntryId,
  walletKeyText,
} from '../../src/ledger/entry.ts';

describe('an entry id', () => {
  it.each([
    ['cus_1', 'USD', 1],
    ['cus_USD_2', 'INR', 42],
    ['a_b_c', 'USD', Number.MAX_SAFE_INTEGER],
  ])('of %s %s %d leads back to its entry', (customerId, currency, seq) => {
    const id = entryId({ merchantId: 'bus_1', customerId, currency, seq });
    expect(parseEntryId(id, customerId)).toEqual({ currency, seq });
  });

  it.each([
    'ent_cus_2_USD_1',
    'ent_cus_1_USD_0',
    'ent_cus_1_USD_01',
    'ent_cus_1_USD_-1',
    'ent_cus_1_USD_1.5',
    'ent_cus_1_USD_9007199254740992',
    'ent_cus_1_usd_1',
    'ent_cus_1_USD_1 ',
    'ent_cus_1_USD_',
    'ent_cus_1_',
    'cus_1_USD_1',
    '',
  ])('%j is none of cus_1', (id) => {
    expect(parseEntryId(id, 'cus_1')).toBeNull();
  });

  it("cannot name another customer's entry", () => {
    const id = entryId({ merchantId: 'bus_1', customerId: 'cus_1_USD', currency: 'INR', seq: 1 });
    expect(parseEntryId(id, 'cus_1')).toBeNull();
  });
});

describe('event types', () => {
  it('each name the account on the other side, which a reversal shares with what it reverses', () => {
    for (const type of EVENT_TYPES) {
      expect(CONTRA_ACCOUNTS[type]).toMatch(/^[a-z_]+$/);
      const reversed = EVENT_TYPES.find((other) => `${other}_reversal` === type);
      if (reversed !== undefined) expect(CONTRA_ACCOUNTS[type]).toBe(CONTRA_ACCOUNTS[reversed]);
    }
  });

  it('may overdraw only where they take back what was given', () => {
    expect([...MAY_OVERDRAW].sort()).toEqual([
      'bonus_reversal',
      'checkout_refund_reversal',
      'dispute',
      'payment_reversal',
      'refund_reversal',
    ]);
  });
});

describe('walletKeyText', () => {
  it('is not fooled by ids that run into each other', () => {
    const one = walletKeyText({ merchantId: 'a', customerId: 'bc', currency: 'USD' });
    expect(walletKeyText({ merchantId: 'ab', customerId: 'c', currency: 'USD' })).not.toBe(one);
  });
});
