import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { STRIPE_SECRET } from '../support/signing.ts';

/** One service as `npm start` runs it; the commands find it by PORT, as they find its database. */
let cli: TestCli;
let service: ServiceProcess;
let given: Record<string, string>;

beforeAll(async () => {
  cli = await startTestCli();
  await makeCustomers(cli.database.pool, ['ada', 'bob', 'cat', 'dan', 'eve']);
  service = startProcess('src/main.ts', {
    DATABASE_URL: cli.database.ownerUrl,
    ENCRYPTION_KEY,
    PORT: '0',
    LOG_LEVEL: 'info',
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
  });
  await service.printed('the worker is ready', 120_000);
  const [, port = ''] = /Listening http:\/\/127\.0\.0\.1:(\d+)/.exec(service.output()) ?? [];
  given = { PORT: port, STRIPE_WEBHOOK_SECRET: STRIPE_SECRET };
}, 180_000);

afterAll(async () => {
  await service.end('SIGTERM');
  await cli.close();
});

const simulate = (words: string, environment: Record<string, string> = {}) =>
  cli.chokin(`simulate ${words}`, { ...given, ...environment });
const simulated = (words: string, environment: Record<string, string> = {}) =>
  cli.json(`simulate ${words} --wait 60s`, { ...given, ...environment });

/** A server that takes whatever it is sent. */
async function listening() {
  const server = createServer((_, response) => response.end('{"received":true}')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { server, url: `http://127.0.0.1:${port}` };
}

describe('chokin simulate', { timeout: 180_000 }, () => {
  it('shows a newcomer money that arrives, by an event that is signed as Stripe signs', async () => {
    const paid = await simulate('topup --provider stripe --customer cus_ada --amount 12.50 --wait 60s --verbose');
    expect(paid).toMatchObject({ code: 0, err: '' });
    // What was sent, where to, what became of it, the wallet before and after, what to try next, and the body if it is asked for.
    const address = `http://127.0.0.1:${given.PORT}/webhooks/stripe/src_stripe`;
    expect(paid.out).toMatch(new RegExp(`^sent     payment_intent\\.succeeded to ${address}\n`));
    expect(paid.out).toMatch(/\n\nSent\n\{\n {2}"id": "evt_simulated\w+",\n(.*\n)+ +"amount_received": 1250,/);
    expect(paid.out).toMatch(/^status {3}applied: credited\nwallet {3}0\.00 USD → 12\.50 USD$/m);
    const [, payment = ''] = /^npx chokin simulate refund --payment (pi_\w+)$/m.exec(paid.out) ?? [];
    expect(paid.out).not.toContain(STRIPE_SECRET);

    const refunded = await simulated(`refund --payment ${payment} --amount 2.50`);
    expect(refunded.sent).toMatchObject({ type: 'refund.created', payment_id: payment });
    expect(refunded.wallet).toEqual({ customer_id: 'cus_ada', currency: 'USD', before: 1250, after: 1000 });
    const lost = await simulated(`dispute --payment ${payment}`);
    expect(lost).toMatchObject({ event: { status: 'applied' }, wallet: { before: 1000, after: 0 } });
    const won = await simulated(`dispute --payment ${payment} --outcome won`);
    expect(won.wallet).toMatchObject({ before: 0, after: 1000 });
    const tooMuch = await simulate(`dispute --payment ${payment} --amount 12.51`);
    expect(tooMuch).toMatchObject(failure(`12.50 USD was paid by ${payment}: no more can be disputed.`));
    const again = await simulate(`dispute --payment ${payment} --outcome won --wait 60s`);
    expect(again.out).toMatch(/^sent .+\n(.+\n)*status +applied: nothing changed, since nothing was left to move$/m);
    expect(again.out).not.toContain('"id"');
    const life = await cli.json(`payments show ${payment}`);
    expect(life.items).toMatchObject([{ refunds: [{ amount: 250 }], disputes: [{ status: 'won' }] }]);
  });

  it('pays for an order, which reaches the wallet when it is refunded', async () => {
    const order = await simulated('order --customer cus_bob --amount 300 --currency INR');
    expect(order.wallet).toEqual({ customer_id: 'cus_bob', currency: 'INR', before: 0, after: 0 });
    const refund = await simulated(`refund --provider stripe --payment ${order.sent.payment_id}`);
    expect(refund.wallet).toMatchObject({ currency: 'INR', before: 0, after: 30_000 });
  });

  it.each([
    ['dodo', `whsec_${Buffer.from('a secret for trying only').toString('base64')}`, 'cus_cat'],
    ['razorpay', 'trial-secret', 'cus_dan'],
  ])('does the same for %s by a stored source, with no restart and no account', async (provider, secret, customer) => {
    const { source_id: source } = await cli.json(`sources create --provider ${provider} --name Trial`, {
      CHOKIN_WEBHOOK_SECRET: secret,
    });
    const paid = await simulated(`topup --source ${source} --customer ${customer} --amount 5`);
    expect(paid).toMatchObject({ event: { status: 'applied', provider }, wallet: { before: 0, after: 500 } });
    const { payment_id: payment } = paid.sent;
    const unnamed = await simulate(`topup --provider ${provider} --customer ${customer} --amount 5`);
    expect(unnamed, 'by the only source that there is').toMatchObject({ code: 0 });
    expect((await simulated(`refund --payment ${payment} --amount 1`)).wallet).toMatchObject({ after: 900 });
    expect((await simulated(`dispute --payment ${payment} --amount 2`)).wallet).toMatchObject({ after: 700 });
    const tooMuch = await simulate(`refund --payment ${payment} --amount 5`);
    expect(tooMuch).toMatchObject(failure(/^error: Only 4\.00 USD of \w+ can still be refunded\.\n$/));
    // Payers may write metadata there, so it cannot say what a payment is for.
    const order = await simulate(`order --source ${source} --customer ${customer} --amount 5`);
    expect(order).toMatchObject(
      failure(
        new RegExp(`^error: At ${source} every payment is for topup.+: npx chokin sources set ${source} --default`),
      ),
    );
    const foreign = await simulate(`topup --source ${source} --provider stripe --customer ${customer} --amount 5`);
    expect(foreign).toMatchObject(
      failure(`--provider: ${source} is a source of ${provider}\nSee "chokin simulate topup --help".`, 2),
    );
    await cli.json(`sources disable ${source}`);
    const disabled = await simulate(`topup --source ${source} --customer ${customer} --amount 5`);
    expect(disabled).toMatchObject(
      failure(/^error: src_\w+ is disabled\. Enable it first: npx chokin sources enable src_/),
    );
    await cli.json(`sources create --provider ${provider} --name Another`, { CHOKIN_WEBHOOK_SECRET: `${secret}AAAA` });
    const unclear = await simulate(`topup --provider ${provider} --customer ${customer} --amount 5`);
    expect(unclear).toMatchObject(
      failure(
        new RegExp(
          `^error: There are two sources that could be meant\\. Choose one of them by --source:\n(--source src_\\w+ {2}\\(${provider}\\)\n){2}$`,
        ),
      ),
    );
  });

  it.each([
    ['paddle', 'pdl_ntfset_trial', true],
    ['polar', 'polar_whs_trial', false],
    ['lemonsqueezy', 'trial-secret', false],
    ['adyen', 'ab'.repeat(32), true],
    ['cashfree', 'trial-secret', true],
  ])(
    'tops up, refunds in parts and disputes at %s, and pays for an order that is refunded into the wallet',
    async (provider, secret, hasDisputes) => {
      const customer = `cus_${provider}`;
      await makeCustomers(cli.database.pool, [provider]);
      const create = `sources create --provider ${provider} --name Trial --default-purpose`;
      const [topups, orders] = await Promise.all(
        // Two sources of one secret would be one account.
        [
          ['topup', 'ab'],
          ['order', 'cd'],
        ].map(([purpose, own]) =>
          cli.json(`${create} ${purpose}`, {
            CHOKIN_WEBHOOK_SECRET: secret.length === 64 ? `${own}`.repeat(32) : `${secret}${own}`,
          }),
        ),
      );
      const paid = await simulated(`topup --source ${topups.source_id} --customer ${customer} --amount 10`);
      expect(paid).toMatchObject({ event: { status: 'applied', provider }, wallet: { before: 0, after: 1000 } });
      const { payment_id: payment } = paid.sent;
      expect((await simulated(`refund --payment ${payment} --amount 1.50`)).wallet).toMatchObject({ after: 850 });
      expect((await simulated(`refund --payment ${payment} --amount 2`)).wallet).toMatchObject({ after: 650 });
      const disputed = `dispute --payment ${payment} --amount 3`;
      if (hasDisputes) {
        expect((await simulated(disputed)).wallet).toMatchObject({ before: 650, after: 350 });
        expect((await simulated(`${disputed} --outcome won`)).wallet).toMatchObject({ before: 350, after: 650 });
      } else {
        const message = `${provider} tells nothing of disputes; simulate a refund instead.`;
        expect(await simulate(disputed)).toMatchObject(failure(message));
      }
      const order = await simulated(`order --source ${orders.source_id} --customer ${customer} --amount 4`);
      expect(order.wallet).toMatchObject({ before: 650, after: 650 });
      const refunded = await simulated(`refund --payment ${order.sent.payment_id}`);
      expect(refunded.wallet).toMatchObject({ before: 650, after: 1050 });
    },
  );

  it('takes the only source that there is, of whatever provider, where none is named', async () => {
    await cli.json('merchants create Solo --mode test --id bus_solo');
    await makeCustomers(cli.database.pool, ['solo'], 'bus_solo');
    await cli.json('sources create --provider razorpay --name Trial --merchant bus_solo', {
      CHOKIN_WEBHOOK_SECRET: 'secret-of-solo',
    });
    const paid = await simulated('topup --customer cus_solo --amount 1 --merchant bus_solo');
    expect(paid).toMatchObject({ event: { status: 'applied', provider: 'razorpay' }, wallet: { after: 100 } });
  });

  it('never makes money in live mode', async () => {
    await cli.database.pool.query("insert into merchant (merchant_id, name, mode) values ('bus_live', 'Live', 'live')");
    const topup = 'topup --customer cus_ada --amount 1';
    const [merchant, shell] = await Promise.all([
      simulate(`${topup} --merchant bus_live`, { MERCHANT_ID: 'bus_live' }),
      simulate(topup, { MODE: 'live' }),
    ]);
    expect(merchant).toMatchObject(
      failure(/^error: bus_live is in live mode\. Simulated money is for test mode alone/),
    );
    expect(shell).toMatchObject(failure('src_stripe is in live mode. Simulated money is for test mode alone.'));
  });

  it('says what to set or to start where nothing can arrive', async () => {
    const topup = 'topup --customer cus_eve --amount 1';
    const closed = await listening();
    await new Promise((resolve) => closed.server.close(resolve));
    const cases: [string, Record<string, string>, RegExp][] = [
      [
        `${topup} --provider stripe`,
        { STRIPE_WEBHOOK_SECRET: '' },
        /^error: There is no source of stripe here\. Store one; .+\nCHOKIN_WEBHOOK_SECRET=whsec_trial_\w+ npx chokin sources create --provider stripe --name Trial\nIf .+: set STRIPE_WEBHOOK_SECRET, /,
      ],
      [
        `${topup} --source src_stripe`,
        { STRIPE_WEBHOOK_SECRET: '' },
        /^error: src_stripe is a source of the environment, and is not set here: set STRIPE_WEBHOOK_SECRET, /,
      ],
      [`${topup} --currency EUR`, {}, /^error: There are no wallets in EUR\. Supported: USD, INR\.\n$/],
      [`${topup} --provider paypal`, {}, /^error: Only PayPal can sign its events/],
      [
        'topup --customer cus_solo --amount 1 --merchant bus_solo --provider adyen',
        {},
        /^error: There is no source of adyen here\..+\nCHOKIN_WEBHOOK_SECRET=[0-9a-f]{48} npx /,
      ],
      [`${topup} --source src_nothing`, {}, /^error: There is no source src_nothing; "npx chokin sources list"/],
      ['topup --customer cus_nobody --amount 1', {}, /^error: There is no customer cus_nobody\./],
      [`${topup} --url ${closed.url}`, {}, /^error: No service answers at http:.+ \(\w+\)\. Is npm start running\?/],
      [
        topup,
        { STRIPE_WEBHOOK_SECRET: 'whsec_another' },
        /refused the signature\. Its STRIPE_WEBHOOK_SECRET is another than here/,
      ],
      [
        `${topup} --provider razorpay`,
        { RAZORPAY_WEBHOOK_SECRET: 'unknown-there' },
        /has no such source\. Set RAZORPAY_WEBHOOK_SECRET where it runs/,
      ],
      [
        'refund --payment pi_3PqRsLkdIwHu7ix01gdX8aVt',
        {},
        /^error: pi_\w+ was not simulated, so its provider has to undo it/,
      ],
      [`refund --payment pi_simulated${'0'.repeat(32)}`, {}, /^error: Nothing was heard of pi_simulated0+ yet/],
    ];
    for (const [words, environment, message] of cases) {
      expect(await simulate(words, environment), words).toMatchObject(failure(message));
    }
    const nowhere = await simulate(topup, { PORT: '0' });
    expect(nowhere).toMatchObject(failure(/^error: --url: is wanted, since PORT=0 takes any port/, 2));
  });

  it('notices a service that works on another database', async () => {
    const other = await listening();
    const ran = await simulate(`topup --customer cus_eve --amount 1 --url ${other.url}/`);
    expect(ran).toMatchObject(failure(/^error: The service at .+ took the event, but works on another database/));
    other.server.close();
  });

  it('waits no longer than it was told to, and asks for the worker', async () => {
    const holder = await cli.database.pool.connect();
    await holder.query('begin');
    await holder.query("select 1 from wallet where customer_id = 'cus_eve' for update");
    const late = await simulate('topup --customer cus_eve --amount 1 --wait 0s');
    expect(late).toMatchObject({ code: 1, err: '' });
    expect(late.out).toMatch(
      /^status {3}not applied within 0 s: does a worker run\?\nwallet {3}0\.00 USD → 0\.00 USD$/m,
    );
    expect(late.out).toMatch(/\n\nNext\nnpx chokin events show evt_\w+\n$/);
    await holder.query('rollback');
    holder.release();
  });

  it('leaves books that agree', async () => {
    await expectBooksToAgree(cli.database.pool);
  });
});
