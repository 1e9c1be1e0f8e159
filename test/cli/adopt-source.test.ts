import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { makeCustomers } from '../support/ledger.ts';

let cli: TestCli;

beforeAll(async () => {
  cli = await startTestCli();
  await makeCustomers(cli.database.pool, []);
});
afterAll(() => cli.close());

describe('chokin sources adopt', () => {
  it('shows what it would move, moves what a source of the environment left, and has nothing to do the second time', async () => {
    const secret = { CHOKIN_WEBHOOK_SECRET: 'whsec_of_the_source_that_adopts' };
    const { source_id } = await cli.json('sources create --provider stripe --name Main', secret);
    expect(await cli.chokin(`sources adopt src_stripe --into ${source_id}`)).toEqual(
      failure('There is no such source.'),
    );
    await cli.database.pool.query(
      `insert into payment (merchant_id, source_id, payment_id, provider, state, refunds, created_at, updated_at)
       values ('bus_default', 'src_stripe', 'pi_1', 'stripe', 'pending', 'auto', now(), now())`,
    );
    const moved = { from: 'src_stripe', into: source_id, payments: 1, links: 0, events: 0, accounts: [] };
    const adopt = `sources adopt src_stripe --into ${source_id}`;
    expect(await cli.json(`${adopt} --dry-run`)).toEqual({ ...moved, status: 'planned' });
    expect(await cli.json(adopt)).toEqual({ ...moved, status: 'done' });
    expect(await cli.json(adopt)).toEqual({ ...moved, payments: 0, status: 'done' });
  });
});
