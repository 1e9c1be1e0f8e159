import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { newId } from '../../src/ids.ts';
import type { OpenCheckout } from '../../src/ledger/checkouts/open-checkout.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

let cli: TestCli;
let chokin: TestCli['chokin'];
let json: TestCli['json'];

beforeAll(async () => {
  cli = await startTestCli();
  ({ chokin, json } = cli);
  await makeCustomers(cli.database.pool, ['ada']);
});

afterAll(async () => {
  await expectBooksToAgree(cli.database.pool);
  await cli.close();
});

/** Opens a checkout of `cus_ada` as the API does. @returns its id */
async function open(total: number): Promise<string> {
  const checkoutId = newId('checkout');
  const command: OpenCheckout = {
    ...{ op: 'open_checkout', merchantId: MERCHANT, customerId: 'cus_ada', currency: 'USD', checkoutId, total },
    ...{ wallet: { use: 'max', most: null, requireFull: false }, gatewayMinimum: 50, allowCreditPurchase: false },
    ...{ warnings: [], tax: null, amountCheck: 'exact', walletRefunds: 'proportional', expiresInSeconds: 1800 },
    ...{ sourceId: null, referenceObjectId: 'order-7', reason: 'Two lamps', metadata: null },
    ...{ idempotencyKey: `api:${checkoutId}`, fingerprint: 'ab'.repeat(32) },
  };
  await transaction(cli.database.pool, (tx) => postBatch(tx, [command], { ...SETTINGS, now: new Date() }));
  return checkoutId;
}

describe('chokin checkouts', { timeout: 120_000 }, () => {
  it('lists, shows, cancels and collects', async () => {
    const credit = posting({ customerId: 'cus_ada', amountMinor: 2000 });
    await transaction(cli.database.pool, (tx) => postBatch(tx, [credit], { ...SETTINGS, now: new Date() }));
    const id = await open(5000);
    // Each command is a process of its own, which takes a while where others work too.
    const [list, shown, one, early, none, nobody] = await Promise.all([
      chokin('checkouts list cus_ada'),
      chokin(`checkouts show ${id}`),
      json(`checkouts show ${id}`),
      chokin(`checkouts collect ${id}`),
      chokin('checkouts show chk_none'),
      chokin('checkouts list cus_nobody'),
    ]);
    expect(list).toMatchObject({ code: 0, err: '' });
    expect(list.out).toMatch(new RegExp(`^${id} +open +50\\.00 USD +20\\.00 USD .+order-7$`, 'm'));
    expect(shown.out).toMatch(/^by a payment +30\.00 USD$/m);
    expect(one).toMatchObject({ status: 'open', wallet_part: 2000 });
    expect(early).toMatchObject(failure(/that is open/));
    expect(none).toMatchObject(failure(/^error: The customer has no such checkout\./));
    expect(nobody).toMatchObject(failure(/^error: There is no customer cus_nobody\./));
    expect((await chokin(`checkouts cancel ${id}`)).out).toMatch(/^status +cancelled$/m);
  });

  it('returns what the wallet paid, once under each key and no more than that', async () => {
    const credit = posting({ customerId: 'cus_ada', amountMinor: 2000 });
    await transaction(cli.database.pool, (tx) => postBatch(tx, [credit], { ...SETTINGS, now: new Date() }));
    const id = await open(1500);
    const refund = (amount: string) => chokin(`checkouts refund ${id} ${amount} --reason returned --key ${amount}`);
    expect(await refund('16')).toMatchObject(failure(/No more than 15\.00 USD of the purchase can be returned/));
    expect((await refund('10')).out).toMatch(/^returned to the wallet +10\.00 USD$/m);
    const again = await refund('10');
    expect(again.out).toMatch(/^returned to the wallet +10\.00 USD$/m);
    expect(again.err).toMatch(/done before under the same key/);
    const mixed = await open(5000);
    expect(await chokin(`checkouts refund ${mixed} 1 --reason returned`)).toMatchObject(failure(/proportional/));
    await chokin(`checkouts cancel ${mixed}`);
  });
});
