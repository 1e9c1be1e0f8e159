import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ended, ROOT } from './support/cli.ts';
import { type Commands, commandsOf, comparable, filledIn, patternOf, readDocument } from './support/document.ts';
import { DodoCheckout } from './support/dodo-checkout.ts';
import { redirectedProviders } from './support/injection.ts';
import { NODE_COMPILE_CACHE } from './support/process.ts';
import { RazorpayOrders } from './support/razorpay-orders.ts';
import { STRIPE_SECRET } from './support/signing.ts';
import { StripeCheckout } from './support/stripe-checkout.ts';
import { Terminal } from './support/terminal.ts';
import { eventually } from './support/wait.ts';

/**
 * A reader types every command of README and tutorial and saves every file that they show, in a folder of her own, and
 * compares what is printed with what the page says. Only the ports differ, since another reader may be at work.
 */

const PAGES = ['README.md', 'docs/tutorial.md', 'docs/tutorial-top-ups.md', 'docs/tutorial-purchases.md'];

const STRIPE_API_KEY = 'sk_test_double0000';
/** As the page writes them. */
const RAZORPAY = { keyId: 'rzp_test_key', keySecret: 'its_secret', secret: 'razorpay_shop_secret' };
const DODO = {
  apiKey: 'test_key',
  productId: 'pdt_thing',
  secret: `whsec_${Buffer.from('the dodo secret of docs!').toString('base64')}`,
};
/** Dodo adds the tax of the buyer's country. */
const TAX_PERCENT = 19;

/** Commands that a test cannot run, and why. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'npm ci': 'it fetches packages; the reader has those of this checkout',
  'npm install stripe@23.1.0 dodopayments@2.52.0': 'it fetches packages; the shop has those of this checkout',
  'npm install stripe@23.1.0 dodopayments@2.52.0 standardwebhooks@1.1.1':
    'it fetches packages; the shop has those of this checkout',
  'npm install stripe@23.1.0 razorpay@2.9.8 dodopayments@2.52.0 standardwebhooks@1.1.1':
    'it fetches packages; the shop has those of this checkout',
  'npm ci && npm run demo': 'it fetches packages, and CI runs the demo by itself',
  'npm ci && npm test': 'this is one of those tests',
  'stripe listen --forward-to 127.0.0.1:3000/webhooks/stripe/src_…':
    'it wants an account; a double sends to that address',
};

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Some port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A folder that looks like a fresh checkout, with nothing of whoever runs the tests. */
async function makeCheckout(folder: string): Promise<string> {
  const checkout = join(folder, 'chokin');
  await mkdir(checkout);
  // The account that runs Postgres has to get in.
  for (const one of [folder, checkout]) await chmod(one, 0o755);
  const names = (await readdir(ROOT)).filter((name) => !/^\.(?:env|data|git)$/.test(name));
  for (const name of names) await symlink(join(ROOT, name), join(checkout, name));
  return checkout;
}

/** Every provider that a page knows, and where its double listens. */
interface Providers {
  readonly stripe: StripeCheckout;
  readonly razorpay: RazorpayOrders;
  readonly dodo: DodoCheckout;
  readonly urls: Readonly<Record<string, string>>;
}

async function startProviders(): Promise<Providers> {
  const stripe = new StripeCheckout({ secret: STRIPE_SECRET, apiKey: STRIPE_API_KEY });
  const razorpay = new RazorpayOrders(RAZORPAY);
  const dodo = new DodoCheckout(DODO);
  dodo.taxPercent = TAX_PERCENT;
  closing.push(() => Promise.all([stripe, razorpay, dodo].map((one) => one.close())));
  const hosts = { 'api.stripe.com': stripe, 'api.razorpay.com': razorpay, 'test.dodopayments.com': dodo };
  const urls = Object.entries(hosts).map(async ([host, one]) => [host, await one.listen()] as const);
  return { stripe, razorpay, dodo, urls: Object.fromEntries(await Promise.all(urls)) };
}

/** Somebody who follows a page from its top to its end. */
class Reader {
  readonly #folder: string;
  readonly #ports: ReadonlyMap<string, string>;
  readonly #environment: Record<string, string>;
  readonly #terminals = new Map<string, Terminal>();
  readonly #providers: Providers;
  /** All that was printed, which ids are taken from, and what dashboards show. */
  #shown = `${STRIPE_API_KEY} ${DODO.secret}`;

  constructor(given: {
    folder: string;
    ports: ReadonlyMap<string, string>;
    environment: Record<string, string>;
    providers: Providers;
  }) {
    this.#folder = given.folder;
    this.#ports = given.ports;
    this.#environment = given.environment;
    this.#providers = given.providers;
  }

  get stripe(): StripeCheckout {
    return this.#providers.stripe;
  }

  get razorpay(): RazorpayOrders {
    return this.#providers.razorpay;
  }

  get dodo(): DodoCheckout {
    return this.#providers.dodo;
  }

  /** What she would type or open, with the ids that she was shown. */
  meant(text: string): string {
    return this.#ported(filledIn(text, this.#shown));
  }

  async type(commands: Commands): Promise<void> {
    const typed = commandsOf(commands.text);
    const output = commands.stays ? await this.#stay(typed, commands) : await this.#run(typed, commands);
    if (commands.printed === null) return;
    const wanted = this.#ported(commands.printed);
    // Compared as text where it differs, since nobody reads such a pattern.
    if (!patternOf(wanted).test(comparable(output))) expect(output, `line ${commands.line}`).toBe(wanted);
  }

  async #run(typed: readonly string[], { terminal }: Commands): Promise<string> {
    let output = '';
    for (const command of typed) {
      if (await this.#isNotRun(command)) continue;
      const printed = await this.#terminal(terminal).run(this.#ported(filledIn(command, this.#shown)));
      output += printed;
      this.#shown += printed;
    }
    return output;
  }

  async #stay(typed: readonly string[], { terminal, printed, text }: Commands): Promise<string> {
    const [command = '', ...others] = typed;
    if (others.length > 0) throw new Error(`one command alone can stay: ${text}`);
    if (await this.#isNotRun(command)) return '';
    const pattern = printed === null ? /Listening/ : patternOf(this.#ported(printed));
    const isReady = (output: string) => pattern.test(comparable(npmsLinesAside(output)));
    const output = await this.#terminal(terminal).stay(this.#ported(filledIn(command, this.#shown)), isReady);
    this.#shown += output;
    return npmsLinesAside(output);
  }

  /** What the reader does instead, for what cannot be run. */
  async #isNotRun(command: string): Promise<boolean> {
    const whole = command.replace(/ +#.*/, '');
    if (!(whole in NOT_RUN)) return false;
    if (whole.startsWith('npm install')) await this.#install(whole);
    if (whole.startsWith('stripe listen')) {
      const [address = ''] = /127\S+/.exec(this.#ported(filledIn(whole, this.#shown))) ?? [];
      this.stripe.forwardTo = `http://${address}`;
    }
    return true;
  }

  async #install(command: string): Promise<void> {
    const versions = z.record(z.string(), z.string());
    const { dependencies, devDependencies } = z
      .object({ dependencies: versions, devDependencies: versions })
      .parse(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')));
    const installed = { ...devDependencies, ...dependencies };
    for (const [, name = '', version] of command.matchAll(/(\w+)@(\S+)/g)) expect(installed[name]).toBe(version);
    await symlink(join(ROOT, 'node_modules'), join(this.#folder, 'shop/node_modules'));
  }

  async save(name: string, text: string): Promise<void> {
    await writeFile(join(this.#folder, 'shop', name), this.#ported(text));
  }

  /** Until Chokin has applied what it was sent. */
  async untilApplied(): Promise<void> {
    await eventually('every event to be applied', async () => {
      const listed = await this.#terminal('aside').run('npx chokin events list --status pending --json');
      return z.object({ items: z.array(z.unknown()) }).parse(JSON.parse(listed)).items.length === 0;
    });
  }

  /** Until the customer's page says this, as a person does who looks again. */
  async untilPage(text: string): Promise<void> {
    const page = this.meant('http://127.0.0.1:4000/account?customer=cus_…');
    await eventually(`the page to say "${text}"`, async () => (await (await fetch(page)).text()).includes(text));
  }

  /** Until the service has seen that the merchant has such a source, which it remembers for seconds; a person takes longer. */
  async untilWarned(): Promise<void> {
    const url = this.meant('http://127.0.0.1:3000/customers/cus_…/checkouts/quote');
    const headers = { authorization: `Bearer ${this.meant('ck_test_…')}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ total: 5000, currency: 'INR' });
    await eventually('the tax of a split purchase to be warned of', async () => {
      const quote = await (await fetch(url, { method: 'POST', headers, body })).text();
      return quote.includes('taxed_on_payment_alone');
    });
  }

  #terminal(name: string): Terminal {
    const there = this.#terminals.get(name);
    if (there !== undefined) return there;
    const made = new Terminal(name, {
      cwd: join(this.#folder, 'chokin'),
      // The service knows nothing of the double, and would say so.
      env:
        name === 'service' ? this.#environment : { ...this.#environment, ...redirectedProviders(this.#providers.urls) },
      scratch: this.#folder,
    });
    this.#terminals.set(name, made);
    closing.push(() => made.close());
    return made;
  }

  #ported(text: string): string {
    return text.replaceAll(/\b(127\.0\.0\.1:|listen\()(\d{4})\b/g, (_, before: string, port: string) => {
      return `${before}${this.#ports.get(port) ?? port}`;
    });
  }
}

/** npm says first which script it runs. */
const npmsLinesAside = (output: string): string => output.replace(/^\n> .*\n> .*\n\n/, '');

async function startReading(): Promise<Reader> {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-docs-'));
  closing.push(() => rm(folder, { recursive: true, force: true }));
  await makeCheckout(folder);
  const providers = await startProviders();
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, 'stripe'), `#!/bin/sh\necho ${STRIPE_SECRET}\n`, { mode: 0o755 });
  const [port, shopPort] = [await freePort(), await freePort()];
  const path = [bin, join(ROOT, 'node_modules/.bin'), process.env.PATH].join(delimiter);
  const environment = { PATH: path, HOME: folder, PORT: String(port), NODE_COMPILE_CACHE };
  const ports = new Map([
    ['3000', String(port)],
    ['4000', String(shopPort)],
  ]);
  return new Reader({ folder, ports, environment, providers });
}

const ORDER = 'curl -sS 127.0.0.1:4000/order -d';
const SIGN_UP = 'curl -sS 127.0.0.1:4000/sign-up -d';

async function payAtRazorpay(reader: Reader, order: string): Promise<void> {
  const page = await fetch(reader.meant(`http://127.0.0.1:4000/pay?order=${order}`));
  await reader.razorpay.pay(await page.text());
  await reader.untilApplied();
}

/** What a person does after commands that begin so: she pays in her browser, and is not as quick as the next command here. */
const BETWEEN: Readonly<Record<string, (reader: Reader) => Promise<void>>> = {
  'curl -sS 127.0.0.1:4000/buy -d \'{"customer_id":"cus_…","dollars"': async (reader) => {
    await reader.stripe.pay();
    await reader.untilApplied();
  },
  '(cd ../shop && STRIPE_API_KEY=sk_test_… node refund.mjs': (reader) => reader.untilApplied(),
  'npx chokin wallets debit cus_… 3 USD --reason "Answers" --key ada-1': (reader) => reader.untilPage('You have 29.00'),
  'npx chokin wallets debit cus_… 3 USD --reason "Answers" --key bob-1': (reader) => reader.untilPage('Pay once here'),
  "curl -sS -X POST -o /dev/null -w '%{redirect_url}": async (reader) => {
    await reader.stripe.pay();
    await reader.untilPage('come by themselves');
  },
  [`${SIGN_UP} '{"email":"ada@example.com","name":"Ada"}'\ncurl -sS 127.0.0.1:4000/buy`]: async (reader) => {
    await reader.stripe.pay();
    await reader.untilApplied();
  },
  'curl -sS 127.0.0.1:4000/refund -d \'{"order_id":"S-1"': (reader) => reader.untilApplied(),
  'CHOKIN_WEBHOOK_SECRET=razorpay_shop_secret': async (reader) => {
    reader.razorpay.forwardTo = reader.meant('http://127.0.0.1:3000/webhooks/razorpay/src_…');
  },
  [`${SIGN_UP} '{"email":"bela@example.com"`]: (reader) => payAtRazorpay(reader, 'R-1'),
  'npx chokin wallets credit cus_… 20 INR': (reader) => payAtRazorpay(reader, 'R-2'),
  'CHOKIN_WEBHOOK_SECRET=whsec_… npx chokin sources create --provider dodo': async (reader) => {
    reader.dodo.forwardTo = reader.meant('http://127.0.0.1:3000/webhooks/dodo/src_…');
    await reader.untilWarned();
  },
  [`${SIGN_UP} '{"email":"cleo@example.com"`]: async (reader) => {
    await reader.dodo.pay();
    await reader.untilApplied();
  },
  [`${ORDER} '{"order_id":"D-1"}'\ncurl`]: (reader) => reader.untilApplied(),
};

describe('a reader who follows', { timeout: 600_000 }, () => {
  it.each(PAGES)('%s: finds every command to print what it says', async (name) => {
    const reader = await startReading();
    for (const part of readDocument(await readFile(join(ROOT, name), 'utf8'))) {
      if (part.kind === 'file') {
        await reader.save(part.name, part.text);
        continue;
      }
      await reader.type(part);
      for (const [command, act] of Object.entries(BETWEEN)) if (part.text.startsWith(command)) await act(reader);
    }
  });
});

const FILES: Readonly<Record<string, readonly string[]>> = {
  'docs/tutorial.md': ['shop.mjs', 'refund.mjs'],
  'docs/tutorial-top-ups.md': ['refill.ts'],
  'docs/tutorial-purchases.md': ['shop.ts', 'stripe.ts', 'razorpay.ts', 'dodo.ts'],
};

it.each(Object.entries(FILES))('the files of %s have right types', async (page, names) => {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-docs-types-'));
  closing.push(() => rm(folder, { recursive: true, force: true }));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const parts = readDocument(await readFile(join(ROOT, page), 'utf8'));
  const files = parts.filter((part) => part.kind === 'file');
  expect(files.map((file) => file.name)).toEqual(names);
  for (const { name, text } of files) await writeFile(join(folder, name), text);
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  // As strict as the program itself.
  const { compilerOptions } = JSON.parse(await readFile(join(ROOT, 'tsconfig.json'), 'utf8'));
  const options = { ...compilerOptions, allowJs: true, checkJs: true };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: names }));
  const checked = await ended(spawn(join(ROOT, 'node_modules/.bin/tsc'), ['--project', folder], { cwd: folder }));
  expect(checked).toEqual({ code: 0, out: '', err: '' });
});

it('names no command that it cannot run which no page has any more', async () => {
  const pages = await Promise.all(PAGES.map((name) => readFile(join(ROOT, name), 'utf8')));
  for (const command of Object.keys(NOT_RUN)) expect(pages.join('\n')).toContain(command);
});
