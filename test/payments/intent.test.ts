import { describe, expect, it } from 'vitest';
import { readIntent } from '../../src/payments/intent.ts';

const TOPUPS = { defaultPurpose: 'topup', metadata: 'all' } as const;

describe('readIntent', () => {
  it.each([
    [{}, { purpose: 'topup', creditAmount: null }],
    [{ wallet_purpose: 'order' }, { purpose: 'order', creditAmount: null }],
    [{ wallet_purpose: 'none' }, { purpose: 'none', creditAmount: null }],
    [
      { wallet_purpose: 'topup', wallet_credit_amount: '1200' },
      { purpose: 'topup', creditAmount: 1200 },
    ],
    [{ wallet_credit_amount: '9007199254740991' }, { purpose: 'topup', creditAmount: Number.MAX_SAFE_INTEGER }],
    [{ wallet_credit_amount: '007' }, { purpose: 'topup', creditAmount: 7 }],
  ])('%j', (metadata, intent) => {
    expect(readIntent(metadata, TOPUPS)).toEqual(intent);
  });

  it('takes the purpose of the source where the metadata is silent', () => {
    expect(readIntent({}, { ...TOPUPS, defaultPurpose: 'order' })).toEqual({ purpose: 'order', creditAmount: null });
  });

  it.each(['Topup', '', 'gift'])('refuses the purpose %j', (wallet_purpose) => {
    expect(readIntent({ wallet_purpose }, TOPUPS)).toContain('wallet_purpose wants');
  });

  it.each(['0', '', '-5', '10.00', '1e3', ' 5', '0x10', '9007199254740992', '12345678901234567'])(
    'refuses the credit amount %j',
    (wallet_credit_amount) => {
      expect(readIntent({ wallet_credit_amount }, TOPUPS)).toContain('wallet_credit_amount wants');
    },
  );

  it.each([{ wallet_purpose: 'topup' }, { wallet_credit_amount: '99999999' }])(
    'lets no payer grant himself credit by %j where the source obeys the customer alone',
    (metadata) => {
      expect(readIntent(metadata, { ...TOPUPS, metadata: 'customer' })).toContain('obeys wallet_customer_id alone');
      expect(readIntent({}, { ...TOPUPS, metadata: 'customer' })).toEqual({ purpose: 'topup', creditAmount: null });
    },
  );
});
