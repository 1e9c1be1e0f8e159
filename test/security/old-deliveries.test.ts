import { expect, it } from 'vitest';
import { ADAPTERS, SIGNED_PROVIDERS } from './signed-providers.ts';

/* A delivery that somebody recorded is worth nothing later, wherever the provider signs the time with it. */

/** A whole second, in November 2026. */
const NOW_SECONDS = 1_793_200_000;
const NOW = new Date(NOW_SECONDS * 1000);
const DAY = 86_400;
/** The oldest that is taken, in seconds; where the provider's retries may bear their first time, it is days. */
const OLDEST: ReadonlyMap<string, number> = new Map([
  ['stripe', 300],
  ['dodo', 300],
  ['paddle', 300],
  ['polar', 300],
  ['cashfree', 2 * DAY],
  ['paypal', 4 * DAY],
]);
const WITHOUT_TIME = ['razorpay', 'lemonsqueezy', 'adyen'];

const timed = SIGNED_PROVIDERS.filter(({ provider }) => !WITHOUT_TIME.includes(provider));

it('every provider that signs a time is looked at', () => {
  expect(timed.map(({ provider }) => provider).sort()).toEqual([...OLDEST.keys()].sort());
});

it.each(timed)('$provider: a delivery is refused a second after its time is over', async (signed) => {
  const body = signed.payment('cus_a', 'payment_1');
  const oldest = OLDEST.get(signed.provider) ?? 0;
  const isTakenAt = async (offset: number) => {
    const headers = { ...signed.sign?.(body, NOW_SECONDS + offset) };
    return (await ADAPTERS[signed.provider].verify({ rawBody: Buffer.from(body), headers }, [signed.secret], NOW)).ok;
  };
  expect(await Promise.all([-oldest, -oldest - 1, -10 * oldest].map(isTakenAt))).toEqual([true, false, false]);
  expect(await Promise.all([300, 301].map(isTakenAt))).toEqual([true, false]);
});
