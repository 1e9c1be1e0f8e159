import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type CertificateOptions, checkChain, PaypalCertificates } from '../../src/providers/paypal/certificate.ts';
import { paypalProvider } from '../../src/providers/paypal/events.ts';
import { PAYPAL_AUTHORITIES } from '../../src/providers/paypal/intermediates.ts';
import {
  PAYPAL_CERTIFICATE_URL,
  PAYPAL_WEBHOOK_ID,
  paypalCapture,
  paypalCertificate,
  signPaypal,
  testPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';
import { NOW, NOW_SECONDS } from './scheme.ts';

const ROOT = paypalCertificate('root.pem');
const daysAfter = (days: number) => new Date(NOW.getTime() + days * 86_400_000);

const BODY = paypalCapture({ paymentId: 'p' });
const verifyWith = async (provider: ReturnType<typeof testPaypal>) => {
  const headers = signPaypal(BODY, PAYPAL_WEBHOOK_ID, NOW_SECONDS);
  return provider.verify({ rawBody: Buffer.from(BODY), headers }, [PAYPAL_WEBHOOK_ID], NOW);
};

describe('the chain of the certificate', () => {
  const roots = [new X509Certificate(ROOT)];
  const check = (file: string, now = NOW) => checkChain(paypalCertificate(file), roots, now);

  it.each(['paypal.pem', 'sandbox.pem'])('%s is trusted', async (file) => {
    expect(check(file)).toMatchObject({ ok: true });
    expect((await verifyWith(testPaypal(file))).ok).toBe(true);
  });

  it.each([
    ['other-name.pem', "is not of PayPal's messaging"],
    ['self-signed.pem', 'not issued by an authority'],
    ['issued-by-leaf.pem', 'not issued by an authority'],
    ['short-key.pem', 'too short'],
    ['root.pem', "is not of PayPal's messaging"],
    ['paypal.key', 'no certificate'],
    ['README.md', 'no certificate'],
  ])('%s is refused: %s', async (file, reason) => {
    expect(check(file)).toEqual({ ok: false, reason: expect.stringContaining(reason) });
    expect((await verifyWith(testPaypal(file))).ok).toBe(false);
  });

  it('is refused without its intermediate, or under other authorities', () => {
    const leaf = paypalCertificate('leaf.pem');
    expect(checkChain(leaf, roots, NOW).ok).toBe(false);
    expect(checkChain(paypalCertificate('paypal.pem'), [], NOW).ok).toBe(false);
    expect(checkChain(leaf, [new X509Certificate(leaf)], NOW).ok).toBe(false);
  });

  it('may be the certificate alone, where what issued it is one of the authorities at hand', async () => {
    const [leaf, intermediate] = [paypalCertificate('leaf.pem'), paypalCertificate('intermediate.pem')];
    const served = { trustedRoots: [ROOT], fetch: async () => new Response(leaf) };
    expect((await verifyWith(paypalProvider({ ...served, authorities: [intermediate] }))).ok).toBe(true);
    // The log says who issued what is not trusted.
    expect(await verifyWith(paypalProvider(served))).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/not issued by an authority that is trusted now, but by \w/),
    });
  });

  it('has the authority that PayPal carries in its own packages, as long as that is valid', () => {
    const [pem = ''] = PAYPAL_AUTHORITIES;
    const authority = new X509Certificate(pem);
    expect(authority.fingerprint256.replaceAll(':', '')).toBe(
      '403E062A2653059113285BAF80A0D4AE422C848C9F78FAD01FC94BC5B87FEF1A',
    );
    expect(authority.ca).toBe(true);
  });

  it('is followed whatever the order of what comes after the first', () => {
    const [leaf, intermediate] = [paypalCertificate('leaf.pem'), paypalCertificate('intermediate.pem')];
    const [other = ''] = paypalCertificate('other-name.pem').split(/(?<=-----END CERTIFICATE-----\n)/);
    expect(checkChain(leaf + other + ROOT + intermediate, roots, NOW).ok).toBe(true);
    expect(checkChain(intermediate + leaf, roots, NOW).ok).toBe(false);
    expect(checkChain(leaf + intermediate.repeat(5), roots, NOW).ok).toBe(false);
  });

  it.each([
    ['2019-12-31T23:59:59Z', 'before it', false],
    ['2020-01-02T00:00:00Z', 'within it', true],
    ['2071-01-01T00:00:00Z', 'after that of the intermediate', false],
    ['2096-01-01T00:00:00Z', 'after its own', false],
  ])('holds for its time: %s, %s', (now, _name, isOk) => {
    expect(check('paypal.pem', new Date(now)).ok).toBe(isOk);
  });

  it.each(['', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', `x${ROOT.slice(0, 200)}`])(
    'is refused if it cannot be read',
    (pem) => expect(checkChain(pem, roots, NOW).ok).toBe(false),
  );

  it('is not trusted by the authorities that come with Node', async () => {
    const provider = paypalProvider({ fetch: async () => new Response(paypalCertificate('paypal.pem')) });
    expect(await verifyWith(provider)).toMatchObject({
      ok: false,
      reason: expect.stringContaining('authority'),
    });
  });
});

describe('the certificates at hand', () => {
  const url = (name: string) => `https://api.paypal.com/v1/notifications/certs/${name}`;

  function counting(
    answer: NonNullable<CertificateOptions['fetch']> = async () => new Response(paypalCertificate('paypal.pem')),
  ) {
    const asked: string[] = [];
    const certificates = new PaypalCertificates({
      trustedRoots: [ROOT],
      fetch: (address, init) => {
        asked.push(address);
        return answer(address, init);
      },
    });
    return { asked, certificates };
  }

  it('are fetched once, also by requests at the same time', async () => {
    const { asked, certificates } = counting();
    const first = await Promise.all([certificates.get(url('a'), NOW), certificates.get(url('a'), NOW)]);
    expect(first.map(({ ok }) => ok)).toEqual([true, true]);
    expect((await certificates.get(url('a'), daysAfter(0.9))).ok).toBe(true);
    expect(asked).toEqual([url('a')]);
  });

  it('serve on while they are fetched anew once a day, and while that fails, for a week', async () => {
    const answers = [async () => new Response(paypalCertificate('paypal.pem'))];
    const { asked, certificates } = counting(() => (answers.shift() ?? (() => Promise.reject(new Error('away'))))());
    for (const days of [0, 2, 3, 6.9]) expect((await certificates.get(url('a'), daysAfter(days))).ok).toBe(true);
    expect(asked.length).toBeGreaterThan(1);
    expect(await certificates.get(url('a'), daysAfter(7.1))).toMatchObject({ ok: false, unavailable: true });
  });

  it('are not served past their own time', async () => {
    const { certificates } = counting();
    const last = new Date('2069-12-31T23:00:00Z');
    expect((await certificates.get(url('a'), last)).ok).toBe(true);
    expect(await certificates.get(url('a'), new Date('2095-01-01T01:00:00Z'))).toMatchObject({ ok: false });
  });

  it('are sixteen at most, and those that are not trusted are not kept', async () => {
    const { asked, certificates } = counting(
      async (address) => new Response(paypalCertificate(address.includes('bad') ? 'self-signed.pem' : 'paypal.pem')),
    );
    for (let n = 0; n < 16; n += 1) await certificates.get(url(`good${n}`), NOW, `good${n}`);
    for (let n = 0; n < 20; n += 1) expect((await certificates.get(url('bad'), NOW, `bad${n}`)).ok).toBe(false);
    expect(asked).toHaveLength(36);
    await certificates.get(url('good0'), NOW);
    expect(asked).toHaveLength(36);
    await certificates.get(url('good16'), NOW);
    await certificates.get(url('good0'), NOW);
    expect(asked.slice(36)).toEqual([url('good16'), url('good0')]);
  });

  const tooMany = {
    ok: false,
    isLimited: true,
    reason: 'too many unknown certificates were named from its network',
  };

  it('are fetched two at a time for one network and eight for all, and others are refused without being asked for', async () => {
    const held: (() => void)[] = [];
    const { asked, certificates } = counting(
      () => new Promise((resolve) => held.push(() => resolve(new Response(paypalCertificate('paypal.pem'))))),
    );
    const waiting = ['a', 'b', 'c', 'd'].flatMap((from) =>
      [0, 1].map((n) => certificates.get(url(`${from}${n}`), NOW, from)),
    );
    expect(await certificates.get(url('a2'), NOW, 'a')).toEqual(tooMany);
    expect(await certificates.get(url('e'), NOW, 'e')).toEqual(tooMany);
    for (const release of held) release();
    expect((await Promise.all(waiting)).every(({ ok }) => ok)).toBe(true);
    expect(asked).toHaveLength(8);
    const next = certificates.get(url('e'), NOW, 'e');
    held.at(-1)?.();
    expect((await next).ok).toBe(true);
  });

  const gone = async () => new Response('gone', { status: 404 });

  it('that are unknown are asked for four times a minute for one network and sixty for all', async () => {
    const { asked, certificates } = counting(gone);
    for (let n = 0; n < 10; n += 1) await certificates.get(url(`a${n}`), NOW, 'a');
    expect(asked).toHaveLength(4);
    for (let n = 0; n < 100; n += 1) await certificates.get(url(`b${n}`), NOW, `b${n}`);
    expect(asked).toHaveLength(60);
    expect(await certificates.get(url('c'), NOW, 'c')).toEqual(tooMany);
    for (const seconds of [59.9, 60, -60]) {
      await certificates.get(url('c'), new Date(NOW.getTime() + seconds * 1000), 'c');
    }
    expect(asked).toHaveLength(62);
  });

  it('that were good before are fetched anew whatever strangers named', async () => {
    const { asked, certificates } = counting(async (address) =>
      address === url('a') ? new Response(paypalCertificate('paypal.pem')) : gone(),
    );
    await certificates.get(url('a'), NOW);
    const later = daysAfter(8);
    for (let n = 0; n < 100; n += 1) await certificates.get(url(`b${n}`), later, `b${n}`);
    expect(asked).toHaveLength(61);
    expect((await certificates.get(url('a'), later)).ok).toBe(true);
  });

  it.each([400, 404, 410])('that PayPal does not have are forged, and not unavailable: %i', async (status) => {
    const { certificates } = counting(async () => new Response('gone', { status }));
    const found = await certificates.get(url('a'), NOW);
    expect(found).toEqual({ ok: false, reason: 'PayPal has no certificate at the address' });
  });

  it.each<[string, NonNullable<CertificateOptions['fetch']>]>([
    ['the network is away', () => Promise.reject(new TypeError('fetch failed'))],
    ['PayPal is in trouble', async () => new Response('sorry', { status: 503 })],
    ['there is no body', async () => new Response(null)],
    ['the body has no end', async () => new Response(endless())],
    ['the body breaks off', async () => new Response(broken())],
  ])('are unavailable, and not forged, when %s', async (_name, answer) => {
    const { asked, certificates } = counting(answer);
    const provider = paypalProvider({ trustedRoots: [ROOT], fetch: answer });
    expect(await verifyWith(provider)).toMatchObject({ ok: false, unavailable: true });
    expect(await certificates.get(PAYPAL_CERTIFICATE_URL, NOW)).toMatchObject({ ok: false, unavailable: true });
    expect(await certificates.get(PAYPAL_CERTIFICATE_URL, NOW)).toMatchObject({ ok: false, unavailable: true });
    expect(asked).toHaveLength(2);
  });

  it('are asked for without following redirects, and not for longer than some seconds', async () => {
    const inits: RequestInit[] = [];
    const { certificates } = counting(async (_address, init) => {
      inits.push(init);
      return new Response(paypalCertificate('paypal.pem'));
    });
    await certificates.get(url('a'), NOW);
    expect(inits).toEqual([{ redirect: 'error', signal: expect.any(AbortSignal) }]);
  });
});

function endless(): ReadableStream<Uint8Array> {
  return new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(16_384)) });
}

function broken(): ReadableStream<Uint8Array> {
  return new ReadableStream({ pull: (controller) => controller.error(new Error('reset')) });
}
