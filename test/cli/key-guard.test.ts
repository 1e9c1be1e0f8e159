import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestCli, type TestCli } from '../support/cli.ts';

let cli: TestCli;

beforeAll(async () => {
  cli = await startTestCli();
});
afterAll(() => cli.close());

it('says what is done about keys that hold the time, and lists what was found', { timeout: 180_000 }, async () => {
  const { chokin, json, database } = cli;
  await json('merchants create Shop --mode test --id bus_shop');
  expect((await chokin('merchants key-guard bus_shop refuse')).out).toMatch(/^key guard +refuse$/m);
  expect(await chokin('merchants key-guard bus_shop perhaps')).toMatchObject({ code: 2 });
  await database.pool.query(
    `insert into key_warning values ('bus_shop', 'kwn_1', 'unstable_key', 'cus_a', 'job-1764429630', null, true, 'key_1', now())`,
  );
  expect((await chokin('keys warnings --merchant bus_shop')).out).toMatch(
    /unstable_key +job-1764429630 +– +cus_a +key_1 +refused$/m,
  );
});
