import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/env.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { findCaller, hashApiKey } from '../../src/merchants/api-keys.ts';
import { warnOfPayerMetadata } from '../../src/merchants/payer-metadata.ts';
import { SourceDirectory } from '../../src/merchants/sources.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { ended, failure, startTestCli, type TestCli } from '../support/cli.ts';
import type { TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { BOX, ENCRYPTION_KEY } from '../support/secrets.ts';
import { stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { postingsToWait } from '../support/wait.ts';

const [FIRST, SECOND, PROVIDER_KEY] = ['whsec_the_first_secret', 'whsec_the_second_secret', 'sk_test_provider_key'];
const OTHER = 'bus_other';

let cli: TestCli;
let chokin: TestCli['chokin'];
let json: TestCli['json'];
let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  cli = await startTestCli();
  ({ chokin, json, database } = cli);
  await makeCustomers(database.pool, ['ada', 'bob', 'dan', 'eve']);
  await database.pool.query("insert into merchant (merchant_id, name, mode) values ($1, 'Other', 'live')", [OTHER]);
  inbox = await startInbox(database);
});

afterAll(async () => {
  await inbox.stop();
  await cli.close();
});

/** Words that hold spaces cannot be written in one text. */
const post = (words: string, reason = 'goodwill') => chokin([...words.split(' '), '--reason', reason]);

/** Each test has its own merchant or customers, and two processors are enough for several commands that mostly wait. */
describe.concurrent('on one database', { timeout: 180_000 }, () => {
  it('creates, suspends and resumes merchants', async () => {
    const made = await json([...'merchants create --mode live --id bus_live'.split(' '), 'A \u001b[1mbold\u202e name']);
    expect(made).toMatchObject({ merchant_id: 'bus_live', mode: 'live', suspended_at: null });
    const [again, suspended, unknown] = await Promise.all([
      chokin('merchants create Twice --mode test --id bus_live'),
      chokin('merchants suspend bus_live'),
      chokin('merchants suspend bus_nobody'),
    ]);
    expect(again).toMatchObject(failure('There is a merchant of this id already.'));
    expect(suspended).toMatchObject({ code: 0, out: expect.stringMatching(/^suspended +20/m) });
    expect(unknown).toMatchObject(failure('There is no such merchant.'));
    const [listed, table] = await Promise.all([json('merchants list'), chokin('merchants list')]);
    expect(listed.items).toMatchObject([{ name: 'Test' }, { name: 'Other' }, { suspended_at: expect.any(String) }]);
    // What a terminal would obey is shown instead.
    expect(table.out).toMatch(/^bus_live +A \\u\{1b\}\[1mbold\\u\{202e\} name +live +20.+Z +suspended 20/m);
    expect(await json('merchants resume bus_live')).toMatchObject({ suspended_at: null });
  });

  it('creates, rotates and revokes keys, and shows each once', async () => {
    const callerOf = (key: string) => findCaller(autocommit(database.pool), hashApiKey(key));
    const first = await json('keys create --name ci --scopes write,read --expires 30d --merchant bus_other');
    expect(first.key).toMatch(/^ck_live_\w{49}$/);
    expect(await callerOf(first.key)).toMatchObject({
      merchantId: OTHER,
      keyId: first.key_id,
      scopes: new Set(['read', 'write']),
    });
    const days = (Date.parse(first.expires_at) - Date.parse(first.created_at)) / 86_400_000;
    expect(days).toBeCloseTo(30, 3);
    const rotated = await chokin(`keys rotate ${first.key_id} --grace 15m --merchant bus_other`);
    const [, second = ''] = /^API key {2}(ck_live_\w+)\n +Keep it: it is shown this once\.$/m.exec(rotated.out) ?? [];
    const caller = await callerOf(second);
    expect(caller).toMatchObject({ merchantId: OTHER });
    const [revoked, others, past] = await Promise.all([
      chokin(`keys revoke ${caller?.keyId} --merchant bus_other`),
      chokin(`keys revoke ${first.key_id}`),
      chokin('keys create --name past --scopes read --expires 2020-01-01'),
    ]);
    expect(revoked.out).toMatch(/^state +revoked 20/m);
    expect(others).toMatchObject(failure('There is no such API key; the list of keys has their ids.'));
    expect(past).toMatchObject(failure('expires_at: wants a time to come'));
    const [listed, table] = await Promise.all([
      json('keys list --merchant bus_other'),
      chokin('keys list --merchant bus_other'),
    ]);
    expect(listed.items).toHaveLength(2);
    expect(table.out).toMatch(new RegExp(`^${first.key_id} +ci +…\\w{4} .+ends 20`, 'm'));
    for (const key of [first.key, second]) expect(cli.printed().split(key)).toHaveLength(2);
  });

  it('keeps provider accounts whose secrets never show', async () => {
    const create = 'sources create --provider stripe --name Main';
    const given = { CHOKIN_WEBHOOK_SECRET: FIRST, stdin: `${PROVIDER_KEY}\n` };
    const made = await json(`${create} --refunds credit --api-key-stdin`, given);
    expect(made).toMatchObject({ provider: 'stripe', refunds: 'credit', default_purpose: 'topup', enabled: true });
    const source = made.source_id;
    const stored = async () =>
      new SourceDirectory(loadConfig({}), BOX).find(autocommit(database.pool), 'bus_default', source);
    const secrets = async () => (await stored())?.secrets.map((secret) => secret.reveal());
    expect((await stored())?.apiKey?.reveal()).toBe(PROVIDER_KEY);

    const added = await chokin(`sources add-secret ${source} --webhook-secret-stdin`, { stdin: SECOND });
    expect(added).toMatchObject({
      code: 0,
      out: expect.stringContaining(`POST /webhooks/stripe/${source} at your public`),
    });
    expect(await secrets()).toEqual([SECOND, FIRST]);
    const ids = [...added.out.matchAll(/^(sec_\w+) +webhook/gm)].map(([, id]) => id);
    await json(`sources remove-secret ${source} ${ids[1]}`);
    expect(await secrets()).toEqual([SECOND]);
    const changed = await json(`sources set ${source} --default-purpose order --customers named --remove-api-key`);
    expect(changed).toMatchObject({ default_purpose: 'order', customer_link_rule: 'named', refunds: 'credit' });
    expect(await json(`sources disable ${source}`)).toMatchObject({ enabled: false });
    expect(await json(`sources enable ${source}`)).toMatchObject({ enabled: true });

    const [last, others, malformed, placeholder, placeholderKey, sealed, both, listed, table, configured] =
      await Promise.all([
        chokin(`sources remove-secret ${source} ${ids[0]}`),
        chokin(`sources show ${source} --merchant bus_other`),
        chokin('sources create --provider dodo --name D', { CHOKIN_WEBHOOK_SECRET: 'whsec_%%%%' }),
        chokin(create, { CHOKIN_WEBHOOK_SECRET: '<secret>' }),
        chokin(`sources set ${source} --api-key-env`, { CHOKIN_PROVIDER_API_KEY: '<a-key-of-stripe>' }),
        chokin(create, { CHOKIN_WEBHOOK_SECRET: FIRST, ENCRYPTION_KEY: '' }),
        chokin(`${create} --api-key-stdin --webhook-secret-stdin`),
        json('sources list'),
        chokin('sources list', { RAZORPAY_WEBHOOK_SECRET: 'of-the-environment' }),
        chokin('sources disable src_razorpay', { RAZORPAY_WEBHOOK_SECRET: 'of-the-environment' }),
      ]);
    expect(last).toMatchObject(failure(/^error: This is the only secret\. .+\n$/));
    expect(others).toMatchObject(failure('There is no such source.'));
    expect(malformed).toMatchObject(failure(/^error: webhook_secret: wants whsec_ and base64/));
    const still = 'is still the placeholder of .env.example';
    expect(placeholder).toMatchObject(failure(new RegExp(`^error: the webhook secret: ${still}`), 2));
    expect(placeholderKey).toMatchObject(failure(new RegExp(`^error: the API key: ${still}`), 2));
    expect(sealed).toMatchObject(failure(/Set ENCRYPTION_KEY/));
    expect(both).toMatchObject(failure(/^error: only one secret can come from standard input/, 2));
    expect(configured).toMatchObject(failure(/^error: The environment configures this source\./));
    expect(listed.items).toHaveLength(1);
    expect(table.out).toMatch(/^src_razorpay +razorpay +Environment +topup +customer +auto +webhook …ment +enabled$/m);
    expect(table.out).toMatch(new RegExp(`^${source} +stripe +Main +order +all +credit +webhook …cret +enabled$`, 'm'));
  });

  it('makes sources that obey no amount that a payer could have written, unless they are told to', async () => {
    const create = (options: string) =>
      json(`sources create --merchant bus_other --name New --provider ${options}`, {
        CHOKIN_WEBHOOK_SECRET: `whsec_of_${options.replaceAll(' ', '_')}`,
      });
    const made = await Promise.all([create('stripe'), create('paddle'), create('paddle --metadata all')]);
    expect(made.map(({ metadata }) => metadata)).toEqual(['all', 'customer', 'all']);
    // A start warns of the last one, and what it says mends it.
    const lines: string[] = [];
    const logger = createLogger('warn', 'test', { write: (line) => lines.push(line) });
    const sources = new SourceDirectory(loadConfig({}), BOX);
    const warn = () => warnOfPayerMetadata(database.pool, { sources, merchantId: 'bus_default', logger });
    await warn();
    const [warning] = lines.splice(0).map((line) => JSON.parse(line));
    expect(warning.sources).toMatchObject([{ sourceId: made[2].source_id }]);
    expect(await json(warning.sources[0].mend.replace('npx chokin ', ''))).toMatchObject({ metadata: 'customer' });
    await warn();
    expect(lines).toEqual([]);
  });

  it('shows, replays and dismisses parked events, which a worker applies, and the life of a payment', async () => {
    const anonymous = { customer: null, email: null, metadata: {} };
    await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_cli', amount: 1250, ...anonymous })]);
    const { items } = await json('events list --status parked');
    const [{ event_id: event }] = items;
    expect(items).toMatchObject([{ status: 'parked', reason: 'no_customer', payment_id: 'pi_cli' }]);
    const [shown, unknown, nobody, others] = await Promise.all([
      chokin(`events show ${event}`),
      chokin('events replay evt_nothing'),
      chokin(`events replay ${event} --customer cus_nobody`),
      chokin(`events show ${event} --merchant bus_other`),
    ]);
    expect(shown.out).toMatch(/^effect +none$/m);
    expect(shown.out).toMatch(/^reason +no_customer\nadvice +Neither metadata nor provider say/m);
    expect(shown.out).toContain(`\nnpx chokin events replay ${event} --customer cus_…\n`);
    for (const ran of [unknown, others])
      expect(ran).toMatchObject(failure('There is no such event; the list of events has their ids.'));
    expect(nobody).toMatchObject(
      failure(/^error: There is no customer cus_nobody\.\n"npx chokin customers list" finds customers, .+\n$/),
    );

    expect(await json(`events replay ${event} --customer cus_ada`)).toMatchObject({ status: 'pending', replays: 1 });
    await inbox.settled();
    await inbox.play([stripeRefund({ paymentId: 'pi_cli', refundId: 're_cli', amount: 250 })]);
    expect(await inbox.balance('cus_ada')).toBe(1000);

    const [life, table, twice, missing] = await Promise.all([
      json('payments show pi_cli'),
      chokin('payments show pi_cli'),
      chokin(`events replay ${event}`),
      chokin('payments show pi_missing'),
    ]);
    expect(life.items).toMatchObject([
      {
        status: 'succeeded',
        customer_id: 'cus_ada',
        credited: 1250,
        entries: [{ amount: 1250 }, { amount: 250, is_credit: false }],
      },
    ]);
    expect(table.out).toMatch(/^paid +12\.50 USD$/m);
    expect(table.out).toMatch(/ payment_intent\.succeeded +applied: credited +pi_cli$/m);
    expect(table.out).toMatch(/^re_cli +succeeded +2\.50 USD +0\.00 USD +2\.50 USD$/m);
    expect(table.out).toMatch(/^ +2 +20.+Z + -2\.50 USD +10\.00 USD +payment_reversal/m);
    expect(twice).toMatchObject(failure(/this one is applied\.\n$/));
    expect(missing).toMatchObject(failure(/^error: No event about a payment of this id has arrived; /));

    await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_by_hand', amount: 5, ...anonymous })]);
    const parked = await chokin('events list --status parked --limit 5');
    const [, second] = /^(evt_\w+) .+ parked: no_customer +pi_by_hand$/m.exec(parked.out) ?? [];
    const dismissed = await chokin(['events', 'dismiss', second ?? '', '--note', 'credited by hand']);
    expect(dismissed.out).toMatch(/^status +dismissed\ndetail +no_customer: credited by hand$/m);
    expect((await chokin('events list --status parked')).out).toBe('No events.\n');
    const resolve = (how: readonly string[]) =>
      chokin(['events', 'resolve', second ?? '', ...how, '--note', 'order 77']);
    expect(await resolve([])).toMatchObject(failure('Say either --entry or --amount.'));
    expect((await resolve(['--amount', '5'])).out).toMatch(/^detail +no_customer: credited by hand; order 77$/m);
    expect(await chokin(`events replay ${second}`)).toMatchObject(failure(/"reopen": true/));
    expect(await json(`events replay ${second} --reopen`)).toMatchObject({ status: 'pending' });
    await inbox.settled();
  });

  it('credits and debits once a key, and tells the worker', async () => {
    const jobs = async () =>
      (await database.pool.query("select from pgboss.job where name = 'announce-balance-changes'")).rowCount;
    await inbox.boss.deleteAllJobs('announce-balance-changes');
    const credit = await post('wallets credit cus_bob 20.00 USD');
    const [, key = ''] =
      /^Idempotency key: (cli_[0-9a-f-]{36}) \(if no outcome is shown, repeat with --key\)\n$/.exec(credit.err) ?? [];
    expect(credit.out).toMatch(/^credited +20\.00 USD\nbalance +20\.00 USD$/m);
    expect(await jobs()).toBe(1);
    const [again, other] = await Promise.all([
      post(`wallets credit cus_bob 20 USD --key ${key} --json`),
      post(`wallets credit cus_bob 20.01 USD --key ${key}`),
    ]);
    expect(again).toMatchObject({ code: 0, err: 'This was done before under the same key, and is not done again.\n' });
    expect(JSON.parse(again.out)).toMatchObject({
      amount: 2000,
      after_balance: 2000,
      idempotency_key: key,
      event_type: 'merchant_adjustment',
    });
    expect(other).toMatchObject(failure(/^error: This idempotency key was used before with other input/));
    const [debit, short, nobody, foreign] = await Promise.all([
      post('wallets debit cus_bob 7.5 USD --json --key a', '\u001b]0;title\u0007 \u009b31m'),
      post('wallets debit cus_eve 0.01 USD --key b'),
      post('wallets credit cus_nobody 1 USD --key c'),
      post('wallets credit cus_bob 1 EUR --key d'),
    ]);
    expect(JSON.parse(debit.out)).toMatchObject({ amount: 750, is_credit: false, after_balance: 1250 });
    expect(short).toMatchObject(failure('Insufficient balance: 0.00 USD is available, 0.01 USD required.'));
    expect(nobody).toMatchObject(
      failure(/^error: There is no customer cus_nobody\.\n"npx chokin customers list" finds customers, .+\n$/),
    );
    expect(foreign).toMatchObject(failure(/^error: There are no wallets in EUR/));

    const [wallets, history, table, unknown] = await Promise.all([
      json('wallets show cus_bob'),
      json('wallets show cus_bob --entries 1'),
      chokin('wallets show cus_bob --entries 10'),
      chokin('wallets show cus_nobody'),
    ]);
    expect(wallets).toMatchObject({
      items: [{ currency: 'INR' }, { currency: 'USD', balance: 1250 }],
      total_balance_usd: 1250,
    });
    expect(history.entries).toMatchObject([{ seq: 2, amount: 750 }]);
    expect(table.out).toMatch(/^12\.50 USD +2 +20/m);
    expect(table.out).toMatch(
      /^ +2 +20\S+ + -7\.50 USD +12\.50 USD +merchant_adjustment +\\u\{1b\}\]0;title\\u\{7\} \\u\{9b\}31m$/m,
    );
    expect(unknown).toMatchObject(
      failure(/^error: There is no customer cus_nobody\.\n"npx chokin customers list" finds customers, .+\n$/),
    );
  });

  it('ends quietly at Ctrl-C and leaves nothing half done', async () => {
    const holder = await database.pool.connect();
    await holder.query('begin');
    await holder.query("select 1 from wallet where customer_id = 'cus_dan' for update");
    const command = 'wallets credit cus_dan 1 USD --reason a --key interrupted';
    const child = cli.start(command);
    const ending = ended(child);
    await postingsToWait(database.pool);
    child.kill('SIGINT');
    expect(await ending).toEqual({ code: 'SIGINT', out: '', err: '' });
    await holder.query('rollback');
    holder.release();
    expect(await json(command)).toMatchObject({ seq: 1, after_balance: 100 });
  });
});

describe('afterwards', () => {
  it('proves the books, and exits with 1 when they disagree', async () => {
    await expectBooksToAgree(database.pool);
    const report = await json('audit');
    const table = await chokin('audit');
    expect(report).toMatchObject({ disagreements: [], judged_by_facts: 0 });
    expect(report.trial_balance).toContainEqual(
      expect.objectContaining({ business_id: 'bus_default', currency: 'USD' }),
    );
    expect(table.out).toContain('The books agree.');
    await database.pool.query(
      "update wallet set balance = balance + 1 where customer_id = 'cus_eve' and currency = 'INR'",
    );
    const wrong = await chokin('audit');
    expect(wrong).toMatchObject({ code: 1, err: '', out: expect.stringMatching(/2 agreement.+cus_eve\/INR/) });
  });

  it('has shown no secret, and nothing that a terminal obeys', () => {
    const printed = cli.printed();
    for (const secret of [FIRST, SECOND, PROVIDER_KEY, ENCRYPTION_KEY]) expect(printed).not.toContain(secret);
    expect(printed).not.toMatch(/[^\P{Cc}\n]/u);
  });
});
