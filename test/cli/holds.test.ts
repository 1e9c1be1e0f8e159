import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';

let cli: TestCli;
let chokin: TestCli['chokin'];
let json: TestCli['json'];

beforeAll(async () => {
  cli = await startTestCli();
  ({ chokin, json } = cli);
  await makeCustomers(cli.database.pool, ['ada']);
  await json('wallets credit cus_ada 10 USD --reason gift --key gift');
});

afterAll(async () => {
  await expectBooksToAgree(cli.database.pool);
  await cli.close();
});

describe('chokin holds', { timeout: 180_000 }, () => {
  it('sets money aside, once under a key, and takes what the work came to', async () => {
    const place = 'holds place cus_ada 5 USD --reference job-42 --reason render --key job-42';
    const placed = await chokin(place);
    expect(placed).toMatchObject({ code: 0, err: '' });
    expect(placed.out).toMatch(/^hold +hold_cus_ada_USD_1\nstatus +open\namount +5\.00 USD$/m);
    const again = await chokin(place);
    expect(again.err).toBe('This was done before under the same key, and is not done again.\n');
    expect((await chokin('wallets show cus_ada')).out).toMatch(/^10\.00 USD +5\.00 USD +5\.00 USD +1 /m);
    const short = await chokin('holds place cus_ada 5.01 USD --key more');
    expect(short).toMatchObject(failure('Insufficient balance: 5.00 USD is available, 5.01 USD required.'));
    expect(await chokin('wallets debit cus_ada 5.01 USD --reason x --key y')).toMatchObject({ code: 1 });

    const captured = await chokin('holds capture hold_cus_ada_USD_1 --amount 1.20 --key done');
    expect(captured.out).toMatch(
      /^entry +ent_cus_ada_USD_2\ndebited +1\.20 USD\nhold +hold_cus_ada_USD_1\nstatus +captured$/m,
    );
    const repeated = await chokin('holds capture hold_cus_ada_USD_1 --amount 1.20 --key done');
    expect(repeated).toMatchObject({ code: 0, out: expect.stringMatching(/^entry +ent_cus_ada_USD_2$/m) });
    expect(await chokin('holds capture hold_cus_ada_USD_1')).toMatchObject(
      failure(/^error: The hold is not open any more/m),
    );
    expect(await json('holds show hold_cus_ada_USD_1')).toMatchObject({
      ...{ status: 'captured', captured: 120, released: 380 },
      captures: [{ entry_id: 'ent_cus_ada_USD_2', amount: 120 }],
    });
  });

  it('releases, lists newest first, and says what is wrong', async () => {
    const placed = await json('holds place cus_ada 100 USD --partial --expires-in 1h --key big');
    expect(placed).toMatchObject({ amount: 880, status: 'open' });
    const made = await chokin('holds release hold_cus_ada_USD_2');
    expect(made.out).toMatch(/^status +released$/m);
    const list = await chokin('holds list cus_ada');
    expect(list.out).toMatch(/^hold_cus_ada_USD_2 +released .+\nhold_cus_ada_USD_1 +captured /m);
    expect((await json('holds list cus_ada --status captured --currency USD --before 2')).items).toHaveLength(1);
    const lifted = await chokin('holds lift hold_cus_ada_USD_2 --reason over');
    expect(lifted).toMatchObject(failure(/wants a hold of a dispute; others are released/));
    const [nobody, unknown, wrong, short] = await Promise.all([
      chokin('holds list cus_nobody'),
      chokin('holds show hold_cus_ada_USD_9'),
      chokin('holds release nonsense'),
      chokin('holds place cus_ada 1 USD --expires-in 5s'),
    ]);
    expect(nobody).toMatchObject(failure(/^error: There is no customer cus_nobody\./));
    expect(unknown).toMatchObject(failure(/^error: The customer has no such hold\./));
    expect(wrong).toMatchObject(failure(/^error: The customer has no such hold\./));
    expect(short).toMatchObject({ code: 2, err: expect.stringContaining('wants a time span from 10s to 7d') });
  });
});
