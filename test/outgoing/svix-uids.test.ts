import { expect, test } from 'vitest';
import { applicationUid, besideUid } from '../../src/outgoing/svix/applications.ts';
import { singleUid } from '../../src/outgoing/svix/single.ts';

const INSTALLATION = `ins_${'1'.repeat(32)}`;

test.each(['single', 'before-adoption'])(
  'no merchant’s application is another’s for %s, whatever dots are in their ids',
  (purpose) => {
    const application = applicationUid(INSTALLATION, 'shop');
    const beside = besideUid(application, purpose);
    for (const merchantId of [`shop.${purpose}`, `shop-${purpose}`, `-${purpose}.shop`, `${purpose}.shop`]) {
      expect(applicationUid(INSTALLATION, merchantId)).not.toBe(beside);
      expect(besideUid(applicationUid(INSTALLATION, merchantId), purpose)).not.toBe(beside);
    }
    // What Svix takes as a uid.
    expect(beside).toMatch(/^[A-Za-z0-9._-]{1,256}$/);
  },
);

test('the application for messages to one endpoint is named by the merchant whole, dots and all', () => {
  expect(singleUid(applicationUid(INSTALLATION, 'a.b'))).toBe(`${INSTALLATION}-single.a.b`);
});
