import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';

let cli: TestCli;
let chokin: TestCli['chokin'];
let json: TestCli['json'];

beforeAll(async () => {
  cli = await startTestCli();
  ({ chokin, json } = cli);
  await makeCustomers(cli.database.pool, ['ada', 'eve']);
});

afterAll(async () => {
  await expectBooksToAgree(cli.database.pool);
  await cli.close();
});

describe('chokin wallets freeze, unfreeze, close and status', { timeout: 180_000 }, () => {
  it('stop a wallet, show who did it and why, and let it go on', async () => {
    await json('wallets credit cus_ada 5 USD --reason paid --key paid');
    const frozen = await chokin('wallets freeze cus_ada USD --reason fraud --pause-expiry');
    expect(frozen.out).toMatch(
      /^wallet +cus_ada USD\nstatus +frozen\nexpiry +paused\nsince .+\nby +operator\nreason +fraud$/m,
    );
    expect(await chokin('wallets debit cus_ada 1 USD --reason use --key use')).toMatchObject(
      failure('The wallet in USD is frozen: nothing is taken out of it or set aside.'),
    );
    expect((await chokin('wallets show cus_ada')).out).toMatch(/^balance +status +entries/m);
    await json('wallets unfreeze cus_ada USD --reason mistaken');
    const shown = await chokin('wallets status cus_ada USD');
    expect(shown.out).toMatch(/active +– +operator +mistaken\n.+ frozen +expiry paused +operator +fraud$/m);
    expect((await json('wallets status cus_ada USD')).changes).toHaveLength(2);
    await json('wallets debit cus_ada 1 USD --reason use --key use');
  });

  it('close an empty wallet alone', async () => {
    expect(await chokin('wallets close cus_ada USD --reason left')).toMatchObject(
      failure('A wallet that is to be closed has to be empty: 4.00 USD is left.'),
    );
    expect(await json('wallets close cus_eve USD --reason left')).toMatchObject({ status: 'closed' });
    expect((await chokin('wallets status cus_eve INR')).out).toContain('It was never changed.');
    expect(await chokin('wallets status cus_eve EUR')).toMatchObject({ code: 1 });
  });
});
