import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { putRule } from '../../src/top-ups/manage.ts';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';

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

describe('chokin schedules', { timeout: 180_000 }, () => {
  it('makes, changes, lists and ends grant schedules', async () => {
    const put = await chokin(
      'schedules put cus_ada USD monthly 5 --every month --anchor 2099-01-31T00:00:00+01:00 --zone Europe/Berlin --days 31',
    );
    expect(put).toMatchObject({ code: 0, err: '' });
    expect(put.out).toMatch(/^schedule +monthly\nstatus +active\namount +5\.00 USD$/m);
    const changed = await json('schedules put cus_ada USD monthly 7.50 --every month --zone Europe/Berlin --count 12');
    expect(changed).toMatchObject({ amount: 750, count: 12, expires_in_days: null, actor: 'cli', incarnation: 1 });
    expect((await chokin('schedules list cus_ada')).out).toMatch(
      /^monthly +active +7\.50 USD +month .+Europe\/Berlin$/m,
    );
    expect((await chokin('schedules delete cus_ada USD monthly')).out).toMatch(/^status +ended$/m);
    const [unknown, wrong] = await Promise.all([
      chokin('schedules delete cus_ada USD weekly'),
      chokin('schedules put cus_ada USD monthly 5 --every month --zone Nowhere'),
    ]);
    expect(unknown).toMatchObject(failure(/^error: The wallet has no such schedule\./));
    expect(wrong).toMatchObject(failure(/^error: time_zone: wants a name/));
  });

  it('has customers charged at each period where their wallet has a rule for it', async () => {
    const { pool } = cli.database;
    await makeCustomers(pool, ['bob']);
    const put = 'schedules put cus_bob USD refill 20 --every month --anchor 2099-01-31T00:00:00Z --charge';
    expect(await chokin(put)).toMatchObject(failure(/^error: charge: wants an enabled top-up rule/));
    const now = new Date();
    const rule = {
      ...{ merchantId: MERCHANT, customerId: 'cus_bob', currency: 'USD', enabled: true, threshold: 0 },
      mode: 'amount',
      ...{ amount: 100, target: null, maxCharge: 100, monthlyCap: 2500, maxPerDay: 3, minIntervalSeconds: 600 },
      ...{ timeZone: 'UTC', payment: null, source: null, consent: { acceptedAt: now, textVersion: '1' } },
    } as const;
    await transaction(pool, (tx) => putRule(tx, rule, { currencies: SETTINGS.currencies, now }));
    expect((await chokin(put)).out).toMatch(/^charged +by the top-up rule of the wallet$/m);
    expect(await chokin(`${put.replace('20', '26')}`)).toMatchObject(failure(/^error: The top-up rule lets 2500 be/));
    expect(await json('schedules delete cus_bob USD refill')).toMatchObject({ charge: true, status: 'ended' });
  });

  it('schedules entries, once under a key, and cancels them', async () => {
    const at = new Date(Date.now() + 86_400_000).toISOString();
    const own = `schedules add cus_ada debit 12.50 USD --at ${at} --reason Plan --reference inv-1 --key plan`;
    const added = await json(own);
    expect(added).toMatchObject({
      amount: 1250,
      entry_type: 'debit',
      post_at: at,
      status: 'scheduled',
      actor: 'cli',
    });
    const again = await chokin(own);
    expect(again.err).toBe('This was done before under the same key, and is not done again.\n');
    expect((await chokin('schedules list cus_ada')).out).toMatch(/^sen_\w+ +scheduled +debit +12\.50 USD .+inv-1$/m);
    const { scheduled_entry_id: id } = added as { scheduled_entry_id: string };
    expect((await chokin(`schedules cancel cus_ada ${id}`)).out).toMatch(/^status +canceled$/m);
    expect(await chokin('schedules cancel cus_ada sen_none')).toMatchObject(
      failure(/^error: The customer has no such scheduled entry\./),
    );
    expect(await chokin('schedules list cus_nobody')).toMatchObject(
      failure(/^error: There is no customer cus_nobody\./),
    );
  });
});
