import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { expectBooksToAgree, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

let cli: TestCli;
let chokin: TestCli['chokin'];
let json: TestCli['json'];

beforeAll(async () => {
  cli = await startTestCli();
  ({ chokin, json } = cli);
  await makeCustomers(cli.database.pool, ['ada']);
  await json('wallets credit cus_ada 10 USD --reason paid --key paid');
});

afterAll(async () => {
  await expectBooksToAgree(cli.database.pool);
  await cli.close();
});

describe('chokin lots', { timeout: 180_000 }, () => {
  it('gives credit that ends, once under a key, and shows what is spent first', async () => {
    const give = 'wallets credit cus_ada 5 USD --kind promo --expires 30d --name Welcome --reason gift --key welcome';
    expect(await chokin(give)).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringMatching(/^credited +5\.00 USD$/m),
    });
    const again = await chokin(give);
    expect(again).toMatchObject({
      code: 0,
      err: 'This was done before under the same key, and is not done again.\n',
    });
    await json('wallets credit cus_ada 3 USD --expires 2090-01-31 --priority 60 --reason late --key late');
    await json('wallets credit cus_ada 2 USD --expires 2090-01-31T12:00:00Z --priority 10 --reason soon --key soon');

    const list = await chokin('lots list cus_ada');
    expect(list.out).toMatch(
      /^lot_cus_ada_USD_3 +open +adjustment +2\.00 USD +2\.00 USD +10 +2090-01-31T12:00:00Z +–\n.+Welcome\nlot_cus_ada_USD_2 +open +adjustment +3\.00 USD +3\.00 USD +60 +2090-01-31T00:00:00Z/m,
    );
    expect((await json('lots list cus_ada --kind promo')).items).toMatchObject([
      { lot_id: 'lot_cus_ada_USD_1', name: 'Welcome' },
    ]);
    expect((await json('lots list cus_ada --expires-before 31d')).items).toHaveLength(1);
    expect((await chokin('wallets show cus_ada')).out).toMatch(
      /^balance +base +in lots +held +available +next expiry +entries +changed\n.+\n.+\n20\.00 USD +10\.00 USD +10\.00 USD +0\.00 USD +20\.00 USD +5\.00 USD at 20\S+Z +4 /m,
    );
    const [, wallet] = (await json('wallets show cus_ada')).items;
    expect(wallet).toMatchObject({ base: 1000, in_lots: 1000, next_expiry: { amount: 500 } });
    expect((await chokin('customers show cus_ada')).out).toContain('5.00 USD at 20');
  });

  it('voids as far as no hold needs it, and says what came of a lot', async () => {
    await json('holds place cus_ada 17 USD --key job');
    const needed = await chokin('lots void lot_cus_ada_USD_1 --reason mistake --key all');
    expect(needed).toMatchObject(
      failure('Insufficient balance: 3.00 USD is available, 5.00 USD required. A hold needs the rest.'),
    );
    const tooMuch = await chokin('lots void lot_cus_ada_USD_1 --amount 6 --reason mistake --key more');
    expect(tooMuch).toMatchObject(failure('Of the lot, 5.00 USD is left, 6.00 USD required.'));
    const take = 'lots void lot_cus_ada_USD_1 --amount 1.50 --reason mistake --key part';
    expect((await chokin(take)).out).toMatch(
      /^entry +ent_cus_ada_USD_5\ntaken away +1\.50 USD\nlot +lot_cus_ada_USD_1\nname +Welcome\nstatus +open$/m,
    );
    expect(await chokin(take)).toMatchObject({ code: 0, out: expect.stringMatching(/^entry +ent_cus_ada_USD_5$/m) });
    await json('holds release hold_cus_ada_USD_1');
    await json('lots void lot_cus_ada_USD_1 --reason mistake --key rest');
    expect((await chokin('lots show lot_cus_ada_USD_1')).out).toMatch(/^ent_cus_ada_USD_5 +\S+ +-1\.50 USD$/m);
    expect((await json('lots list cus_ada --status closed --currency USD --before 2')).items).toMatchObject([
      { status: 'voided', voided: 500 },
    ]);
    expect(await chokin('lots void lot_cus_ada_USD_1 --reason again --key again')).toMatchObject(
      failure(/^error: Nothing is left of the lot: it is voided\./m),
    );
  });

  it('changes when a lot ends, and keeps who did it and why', async () => {
    const changed = await chokin('lots change lot_cus_ada_USD_3 --expires never --priority 20 --reason asked');
    expect(changed.out).toMatch(/^priority +20$/m);
    expect(changed.out).toMatch(/^expires +never$/m);
    expect((await json('lots show lot_cus_ada_USD_3')).changes).toMatchObject([
      { actor: 'cli', reason: 'asked', new_expires_at: null, old_priority: 10, new_priority: 20 },
    ]);
    expect((await chokin('lots show lot_cus_ada_USD_3')).out).toMatch(/^\S+Z +cli +never +20 +asked$/m);
  });

  it('that are over have ended in the list of entries too', async () => {
    const { pool } = cli.database;
    const [customerId = ''] = await makeCustomers(pool, ['bob']);
    const terms = { kind: 'promo', name: null, priority: 50, end: { days: 1 } } as const;
    const given = posting({ customerId, amountMinor: 300, terms });
    const now = new Date(Date.now() - 2 * 86_400_000);
    await transaction(pool, (tx) => postBatch(tx, [given], { ...SETTINGS, now }));
    expect((await json('wallets entries cus_bob USD')).items).toMatchObject([
      { event_type: 'credit_expired', amount: 300 },
      { event_type: 'merchant_adjustment', amount: 300 },
    ]);
  });

  it('says what is wrong', async () => {
    const [nobody, unknown, nothing, span, past, paid, debit, cursor] = await Promise.all([
      chokin('lots list cus_nobody'),
      chokin('lots show nonsense'),
      chokin('lots change lot_cus_ada_USD_2 --reason x'),
      chokin('wallets credit cus_ada 1 USD --expires 90s --reason x --key x1'),
      chokin('wallets credit cus_ada 1 USD --expires 2020-01-01 --reason x --key x2'),
      chokin('wallets credit cus_ada 1 USD --kind paid --expires 30d --reason x --key x3'),
      chokin('wallets debit cus_ada 1 USD --expires 30d --reason x --key x4'),
      chokin('lots list cus_ada --status closed --before 2'),
    ]);
    expect(nobody).toMatchObject(failure(/^error: There is no customer cus_nobody\./));
    expect(unknown).toMatchObject(failure(/^error: The customer has no such lot\./));
    expect(nothing).toMatchObject({ code: 2, err: expect.stringContaining('wants --expires or --priority') });
    expect(span).toMatchObject({ code: 2, err: expect.stringContaining('or days such as 30d, 3660d at most') });
    expect(past).toMatchObject(failure(/^error: expires_at: wants a time to come\./m));
    expect(paid).toMatchObject(failure(/^error: Credit that was paid for, or given back for it, does not end\./m));
    expect(debit).toMatchObject({ code: 2, err: expect.stringContaining('unknown option') });
    expect(cursor).toMatchObject({ code: 2, err: expect.stringContaining('wants --currency') });
  });
});
