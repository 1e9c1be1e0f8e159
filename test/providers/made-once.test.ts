import { readdirSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { PROVIDERS } from '../../src/providers/index.ts';
import { accountsOf } from '../../src/providers/shared/account.ts';
import { PROVIDER_NAMES, type ProviderName } from '../../src/providers/shared/names.ts';
import { SECRETS, SIGNERS } from '../support/inbox.ts';
import { providerFixture } from '../support/provider-fixtures.ts';
import { testPaypal } from '../support/signing-paypal-adyen-cashfree.ts';

/** What a delivery passes through is made once for the process, and its body is parsed once: a schema made for each took 15 % of the web process. */

const bodiesOf = (provider: ProviderName): readonly string[] =>
  readdirSync(new URL(`../fixtures/providers/${provider}`, import.meta.url))
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.stringify(providerFixture(provider, file.replace(/\.json$/, ''))));

/** How many schemas, and checks of schemas, are made meanwhile; each gets its `_zod` by this function. */
async function schemasMadeBy(work: () => Promise<void>): Promise<number> {
  const define = Object.defineProperty;
  let made = 0;
  const counting = vi.spyOn(Object, 'defineProperty').mockImplementation((target, name, descriptor) => {
    // Errors have one too, whose definition is the list of what is wrong.
    if (name === '_zod' && !Array.isArray(descriptor.value.def)) made += 1;
    return define(target, name, descriptor);
  });
  try {
    await work();
    return made;
  } finally {
    counting.mockRestore();
  }
}

/** All that an adapter does with a delivery, as the receiver and the worker call it. */
async function pass(name: ProviderName, body: string): Promise<void> {
  const provider = name === 'paypal' ? paypal : PROVIDERS[name];
  const delivery = { rawBody: Buffer.from(body), headers: { ...SIGNERS[name](body) } };
  provider.headersProblem(delivery.headers, new Date());
  await provider.verify(delivery, [SECRETS[name]], new Date());
  provider.interpret(delivery.rawBody);
  provider.deliveryKey(delivery);
  accountsOf(name, delivery.rawBody);
}
const paypal = testPaypal();

describe('a delivery', () => {
  it('is counted, if a schema is made for it', async () => {
    expect(await schemasMadeBy(async () => void z.object({ id: z.string() }))).toBeGreaterThan(1);
    expect(await schemasMadeBy(async () => void z.string().safeParse(1))).toBeGreaterThan(0);
    const known = z.string();
    expect(await schemasMadeBy(async () => void known.safeParse(1))).toBe(0);
  });

  it.each(PROVIDER_NAMES)('of %s has no schema made for it', async (name) => {
    const bodies = [...bodiesOf(name), '{}', '[]', 'no JSON'];
    // What is made when it is first needed, is made now.
    for (const body of bodies) await pass(name, body);
    const made = await schemasMadeBy(async () => {
      for (const body of bodies) await pass(name, body);
    });
    expect(made).toBe(0);
  });

  it.each(PROVIDER_NAMES)('of %s is parsed once, and again for nobody who comes later', async (name) => {
    const [body = ''] = bodiesOf(name);
    const provider = PROVIDERS[name];
    const delivery = { rawBody: Buffer.from(body), headers: { ...SIGNERS[name](body) } };
    const parse = vi.spyOn(JSON, 'parse');
    const read = () => {
      provider.interpret(delivery.rawBody);
      provider.deliveryKey(delivery);
      accountsOf(name, delivery.rawBody);
      return parse.mock.calls.filter(([text]) => text === body).length;
    };
    expect(read()).toBe(1);
    await Promise.resolve();
    // Nothing of a body is kept beyond the turn in which it was read.
    expect(read()).toBe(2);
    parse.mockRestore();
  });
});
