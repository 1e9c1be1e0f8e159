import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { makeCustomers } from '../support/ledger.ts';
import { razorpayPayment, stripePayment, stripePaymentSucceeded } from '../support/signing.ts';

let cli: TestCli;
let chokin: TestCli['chokin'];
let json: TestCli['json'];
let inbox: TestInbox;

const OTHER = 'bus_other';
const idsOf = (listed: { items: { customer_id: string }[] }) => listed.items.map((one) => one.customer_id);

beforeAll(async () => {
  cli = await startTestCli();
  ({ chokin, json } = cli);
  await makeCustomers(cli.database.pool, ['ada', 'bob', 'eve']);
  await cli.database.pool.query("insert into merchant (merchant_id, name, mode) values ($1, 'Other', 'test')", [OTHER]);
  await cli.database.pool.query(
    `update customer set email = customer_id || '@Example.com', name = initcap(substr(customer_id, 5)) || ' Lovelace',
       created_at = '2026-01-01'::timestamptz + (case customer_id when 'cus_ada' then 1 when 'cus_bob' then 2 else 3 end) * interval '1 day'`,
  );
  inbox = await startInbox(cli.database);
  const razorpay = testSource('razorpay');
  await inbox.play([
    stripePaymentSucceeded({
      paymentId: 'pi_1',
      amount: 500,
      customer: 'cus_AtStripe',
      metadata: { wallet_customer_id: 'cus_ada' },
    }),
    stripePaymentSucceeded({ paymentId: 'pi_2', amount: 700, metadata: { wallet_customer_id: 'cus_ada' } }),
    stripePayment({ type: 'payment_failed', paymentId: 'pi_failed', metadata: { wallet_customer_id: 'cus_bob' } }),
  ]);
  await inbox.play(
    [
      razorpayPayment({
        paymentId: 'pay_1',
        amount: 90_000,
        currency: 'INR',
        notes: { wallet_customer_id: 'cus_ada' },
      }),
    ],
    razorpay,
  );
});

afterAll(async () => {
  await inbox.stop();
  await cli.close();
});

describe('lists at the terminal', { timeout: 180_000 }, () => {
  it('finds customers by e-mail, by part of a name, and by our id or the provider’s', async () => {
    const [all, email, name, ours, theirs, nobody, foreign, both] = await Promise.all([
      json('customers list'),
      json('customers list --email CUS_ADA@example.com'),
      json('customers list --name bob'),
      json('customers list --id cus_eve'),
      json('customers list --id cus_AtStripe'),
      chokin('customers list --name nobody'),
      json(`customers list --id cus_ada --merchant ${OTHER}`),
      chokin('customers list --id cus_ada --name ada'),
    ]);
    expect(idsOf(all)).toEqual(['cus_eve', 'cus_bob', 'cus_ada']);
    expect(idsOf(email)).toEqual(['cus_ada']);
    expect(idsOf(name)).toEqual(['cus_bob']);
    expect(idsOf(ours)).toEqual(['cus_eve']);
    expect(idsOf(theirs)).toEqual(['cus_ada']);
    expect(nobody).toEqual({ code: 0, out: 'No customers.\n', err: '' });
    expect(foreign.items).toEqual([]);
    expect(both).toMatchObject(failure(/^error: --id: names whom you mean/, 2));
  });

  it('shows customers page by page, and how to go on', async () => {
    const [first, second] = await Promise.all([
      chokin('customers list --limit 2'),
      chokin('customers list --limit 2 --page 2'),
    ]);
    expect(first.out).toMatch(/^cus_eve .+\ncus_bob .+\n\nFor more, repeat it with --page 2\.\n$/m);
    expect(second.out).toMatch(/^cus_ada +Ada Lovelace +cus_ada@Example\.com +2026-01-02T/m);
    expect(second.out).not.toContain('For more');
  });

  it('refuses a source or a currency that there is not, where an empty list could mean anything', async () => {
    const [source, currency, none] = await Promise.all([
      chokin('payments list --source src_x'),
      chokin('wallets entries cus_ada EUR'),
      chokin('wallets entries cus_eve USD'),
    ]);
    expect(source).toMatchObject(failure('There is no source src_x; "npx chokin sources list" shows them.'));
    expect(currency).toMatchObject(failure('There are no wallets in EUR. Supported: USD, INR.'));
    expect(none).toMatchObject({ code: 0, out: 'No entries.\n' });
  });

  it('shows what is held and what is left where a hold is open, and says so to a debit', async () => {
    await cli.database.pool.query(
      "update wallet set balance = 1000, held = 400, open_holds = 1, hold_seq = 1 where customer_id = 'cus_eve' and currency = 'USD'",
    );
    const [wallets, customer, debit] = await Promise.all([
      chokin('wallets show cus_eve'),
      chokin('customers show cus_eve'),
      chokin('wallets debit cus_eve 7 USD --reason a --key held'),
    ]);
    for (const { out } of [wallets, customer]) {
      expect(out).toMatch(/^balance +held +available +entries +changed/m);
      expect(out).toMatch(/^10\.00 USD +4\.00 USD +6\.00 USD +0 /m);
    }
    expect(debit).toMatchObject(
      failure(
        'Insufficient balance: 6.00 USD is available, 7.00 USD required. Open holds set 4.00 USD of the balance aside.',
      ),
    );
    await cli.database.pool.query(
      "update wallet set balance = 0, held = 0, open_holds = 0 where customer_id = 'cus_eve'",
    );
  });

  it('asks before it erases what nobody can bring back', async () => {
    const [unasked, nobody] = await Promise.all([
      chokin('customers anonymise cus_bob'),
      chokin('customers anonymise cus_nobody --yes'),
    ]);
    expect(unasked).toMatchObject(
      failure('This erases the personal data of cus_bob for good. Say --yes if so. Nothing was done.'),
    );
    expect(nobody).toMatchObject(failure(/^error: There is no customer cus_nobody\./));
    expect(await json('customers show cus_bob')).toMatchObject({ name: 'Bob Lovelace' });
    await cli.database.pool.query(
      `insert into customer (merchant_id, customer_id, email, name, metadata, created_at)
       values ($1, 'cus_gone', 'g@example.com', 'Gone', '{}', now())`,
      [OTHER],
    );
    expect(await json('customers anonymise cus_gone --yes --merchant bus_other')).toMatchObject({
      customer_id: 'cus_gone',
    });
  });

  it('shows a customer with the wallets', async () => {
    const [shown, text, foreign] = await Promise.all([
      json('customers show cus_ada'),
      chokin('customers show cus_ada'),
      chokin(`customers show cus_ada --merchant ${OTHER}`),
    ]);
    const balances = [
      { currency: 'INR', balance: 90_000 },
      { currency: 'USD', balance: 1200 },
    ];
    expect(shown).toMatchObject({ customer_id: 'cus_ada', name: 'Ada Lovelace', wallets: { items: balances } });
    expect(text.out).toMatch(/^name +Ada Lovelace$/m);
    expect(text.out).toMatch(/^ +12\.00 USD +2 /m);
    expect(foreign).toMatchObject(failure(/^error: There is no customer cus_ada\.\n"npx chokin customers list" finds/));
  });

  it('shows, sets and removes the links of a customer', async () => {
    const linked = await json('links list cus_ada');
    const environment = { STRIPE_WEBHOOK_SECRET: 'whsec_of_the_environment' };
    expect(linked.items[0]).toMatchObject({
      provider_customer_id: 'cus_AtStripe',
      cause: 'payment',
      payment_id: 'pi_1',
    });
    const set = await json('links set cus_eve cus_Another --source src_stripe', environment);
    expect(set).toMatchObject({ source_id: 'src_stripe', provider_customer_id: 'cus_Another', cause: 'operator' });
    expect((await chokin('links list cus_eve')).out).toContain('cus_Another');
    await chokin('links remove cus_eve cus_Another --source src_stripe');
    expect((await json('links list cus_eve')).items).toEqual([]);
    const again = await chokin('links remove cus_eve cus_Another --source src_stripe');
    expect(again).toMatchObject(failure(/^error: The customer is not linked so\./));
  });

  it('goes through the entries of a wallet by their numbers', async () => {
    const [newest, older, none, nobody] = await Promise.all([
      chokin('wallets entries cus_ada USD --limit 1'),
      json('wallets entries cus_ada USD --before 2'),
      chokin('wallets entries cus_bob USD'),
      chokin('wallets entries cus_nobody USD'),
    ]);
    expect(newest.out).toMatch(
      /^ +2 .+ \+7\.00 USD +12\.00 USD +payment .+\n\nFor more, repeat it with --before 2\.\n$/m,
    );
    expect(older.items).toMatchObject([{ seq: 1, amount: 500, currency: 'USD' }]);
    expect(none).toEqual({ code: 0, out: 'No entries.\n', err: '' });
    expect(nobody).toMatchObject(failure(/^error: There is no customer cus_nobody\./));
  });

  it('lists payments of every source, newest first, and those of one state, customer, source or time', async () => {
    const paymentIds = async (words: string) =>
      (await json(`payments list ${words}`.trim())).items.map((one: { payment_id: string }) => one.payment_id);
    const [all, failed, ofAda, ofSource, page, soon, text] = await Promise.all([
      paymentIds(''),
      paymentIds('--state failed'),
      paymentIds('--customer cus_ada'),
      paymentIds('--source src_razorpay'),
      paymentIds('--limit 2 --page 2'),
      paymentIds('--since 2999-01-01'),
      chokin('payments list --limit 3'),
    ]);
    expect(all).toEqual(['pay_1', 'pi_failed', 'pi_2', 'pi_1']);
    expect(failed).toEqual(['pi_failed']);
    expect(ofAda).toEqual(['pay_1', 'pi_2', 'pi_1']);
    expect(ofSource).toEqual(['pay_1']);
    expect(page).toEqual(['pi_2', 'pi_1']);
    expect(soon).toEqual([]);
    expect(text.out).toMatch(/^pi_2 +20\S+Z +src_stripe +succeeded +topup +7\.00 USD +7\.00 USD +cus_ada$/m);
    expect(text.out).toContain('\n\nFor more, repeat it with --page 2.\n');
    const [foreign, nobody] = await Promise.all([
      chokin(`payments list --merchant ${OTHER}`),
      chokin('payments list --customer cus_nobody'),
    ]);
    expect(foreign.out).toBe('No payments. --since reaches further back.\n');
    expect(nobody).toMatchObject(failure(/^error: There is no customer cus_nobody\./));
  });

  it('lists the sources of the environment, and those that payments came in by but that are not set in this shell', async () => {
    const [here, text, none] = await Promise.all([
      json('sources list', { STRIPE_WEBHOOK_SECRET: 'of-the-environment' }),
      chokin('sources list', { STRIPE_WEBHOOK_SECRET: 'of-the-environment' }),
      chokin(`sources list --merchant ${OTHER}`),
    ]);
    expect(here.items).toMatchObject([{ source_id: 'src_stripe', origin: 'environment' }]);
    expect(here.not_known_here).toEqual(['src_razorpay']);
    expect(text.out).toMatch(/^src_stripe .+ enabled\nsrc_razorpay .+ not known here$/m);
    expect(text.out).toContain(
      '\n\nsrc_razorpay is a source of the environment: set RAZORPAY_WEBHOOK_SECRET here as where',
    );
    expect(none.out).toMatch(
      /^No sources\. Set STRIPE_WEBHOOK_SECRET, .+\nCHOKIN_WEBHOOK_SECRET=whsec_… npx chokin sources create --provider stripe/,
    );
  });

  it('reads no more of a large table than it shows', async () => {
    const { pool } = cli.database;
    await pool.query("insert into merchant (merchant_id, name, mode) values ('bus_large', 'Large', 'test')");
    await pool.query(
      `insert into customer (merchant_id, customer_id, email, name, created_at)
       select 'bus_large', 'cus_' || n, 'e' || n || '@example.com', 'N', now() - n * interval '1 s' from generate_series(1, 20000) n`,
    );
    await pool.query(
      `insert into payment (merchant_id, source_id, payment_id, provider, state, refunds, created_at, updated_at)
       select 'bus_large', 'src_' || n % 3, 'pi_' || n, 'stripe', 'succeeded', 'auto', now() - n * interval '1 s', now()
       from generate_series(1, 20000) n`,
    );
    await pool.query('analyze customer, payment, customer_link');
    const read = async () => {
      const { rows } = await pool.query<{ scans: number; rows: number }>(
        `select sum(seq_scan)::int as scans, sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int as rows
         from pg_stat_user_tables where relname in ('customer', 'payment', 'customer_link')`,
      );
      return rows[0] ?? { scans: 0, rows: 0 };
    };
    const before = await read();
    // Each ends its connections, and a connection that ends tells what it read.
    for (const words of [
      'customers list',
      'customers list --email e77@example.com',
      'customers list --id cus_77',
      'customers show cus_77',
      'payments list',
      'payments list --source src_1 --state succeeded',
      'sources list',
    ]) {
      await json(`${words} --merchant bus_large`);
    }
    const after = await read();
    expect(after.scans - before.scans).toBe(0);
    expect(after.rows - before.rows).toBeGreaterThan(20);
    expect(after.rows - before.rows).toBeLessThan(500);
  });
});
