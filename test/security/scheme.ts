import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import type { AnyProvider, Delivery } from '../../src/providers/shared/provider.ts';
import type { SignedHeaders } from '../support/signing.ts';

/** What every provider's verification must accept and refuse, whatever its scheme. */

export const NOW = new Date(1_793_200_000_900);
export const NOW_SECONDS = 1_793_200_000;

export interface Scheme {
  readonly body: string;
  /** The current secret, an older one, and one of somebody else. */
  readonly secrets: readonly [string, string, string];
  readonly signatureHeader: string;
  readonly sign: (body: string, secret: string, atSeconds?: number) => SignedHeaders;
  /** As somebody signs who guesses that the secret is blank. */
  readonly signWithBlank: (body: string) => SignedHeaders;
  /** The adapter, if other than that of the name. */
  readonly provider?: AnyProvider;
}

export function describeSignatures(name: ProviderName, scheme: Scheme): void {
  describe(`${name}: a delivery is accepted only as it was signed`, () => {
    const { body, secrets, signatureHeader, sign: signed, signWithBlank, provider = PROVIDERS[name] } = scheme;
    const [current, older, foreign] = secrets;
    const headers = signed(body, current);
    const signature = headers[signatureHeader] ?? '';

    const check = async (change: Partial<Delivery>, accepted: readonly string[] = [current, older]) =>
      provider.verify({ rawBody: Buffer.from(body), headers, ...change }, accepted, NOW);
    const withSignature = (value: string | string[] | undefined) =>
      check({ headers: { ...headers, [signatureHeader]: value } });

    it('with the current secret', async () => expect(await check({})).toEqual({ ok: true, secretIndex: 0 }));

    it('with an older secret, and says which', async () => {
      expect(await check({ headers: signed(body, older) })).toEqual({ ok: true, secretIndex: 1 });
    });

    it('and names the newest secret where several match', async () => {
      expect(await check({}, [foreign, current, current])).toEqual({ ok: true, secretIndex: 1 });
    });

    it('not with a secret of somebody else, nor with none, nor with a blank one', async () => {
      expect((await check({ headers: signed(body, foreign) })).ok).toBe(false);
      expect((await check({}, [])).ok).toBe(false);
      expect((await check({ headers: signWithBlank(body) }, ['', ' '])).ok).toBe(false);
    });

    it('not with any bit of the body flipped', async () => {
      for (let bit = 0; bit < Buffer.byteLength(body) * 8; bit += 13) {
        const rawBody = Buffer.from(body);
        rawBody[bit >> 3] = (rawBody[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect((await check({ rawBody })).ok, `bit ${bit}`).toBe(false);
      }
    });

    it('not with any character of the signature changed', async () => {
      for (let index = 0; index < signature.length; index += 1) {
        const changed = signature[index] === '0' ? '1' : '0';
        expect((await withSignature(signature.slice(0, index) + changed + signature.slice(index + 1))).ok).toBe(false);
      }
    });

    it('not with bytes that are no text, which decode alike', async () => {
      const textual = Buffer.from('{"a":"\ufffd"}');
      const invalid = Buffer.from([...Buffer.from('{"a":"'), 0xff, ...Buffer.from('"}')]);
      expect(invalid.toString('utf8')).toBe(textual.toString('utf8'));
      const signedHeaders = signed(textual.toString('utf8'), current);
      expect((await check({ rawBody: textual, headers: signedHeaders })).ok).toBe(true);
      expect((await check({ rawBody: invalid, headers: signedHeaders })).ok).toBe(false);
      expect(
        (await check({ rawBody: Buffer.concat([Buffer.from('\ufeff'), textual]), headers: signedHeaders })).ok,
      ).toBe(false);
    });

    it.each<[string, (signature: string) => string | string[] | undefined]>([
      ['missing', () => undefined],
      ['empty', () => ''],
      ['an array', (valid) => [valid]],
      ['two headers in an array', (valid) => [valid, valid]],
      ['two headers joined, as Node joins them', (valid) => `${valid}, ${valid}`],
      ['followed by junk', (valid) => `${valid}junk`],
      ['followed by a comma', (valid) => `${valid},`],
      ['followed by a space', (valid) => `${valid} `],
      ['in capitals', (valid) => valid.toUpperCase()],
      ['cut short', (valid) => valid.slice(0, -1)],
      ['not a signature', () => 'hello'],
      ['only separators', () => ',=, ,='],
    ])('not with the signature %s', async (_case, change) => {
      expect((await withSignature(change(signature))).ok).toBe(false);
    });

    it('and never by a throw, nor by a reason that quotes the signature or the body', async () => {
      const value = fc.oneof(fc.string(), fc.array(fc.string()), fc.constant(undefined));
      const anyHeaders = fc.record(Object.fromEntries(Object.keys(headers).map((header) => [header, value])));
      await fc.assert(
        fc.asyncProperty(anyHeaders, fc.uint8Array(), async (someHeaders, bytes) => {
          expect((await check({ headers: someHeaders, rawBody: Buffer.from(bytes) })).ok).toBe(false);
        }),
      );
      expect(JSON.stringify(await check({ headers: signed(body, foreign) }))).not.toContain(signature.slice(-20));
    });
  });
}

/** For the schemes that sign the time. */
export function describeSignedTime(name: ProviderName, scheme: Scheme): void {
  describe(`${name}: the signed time`, () => {
    const { body, secrets, sign: signed, provider = PROVIDERS[name] } = scheme;
    const at = async (seconds: number) =>
      provider.verify({ rawBody: Buffer.from(body), headers: signed(body, secrets[0], seconds) }, secrets, NOW);

    it.each([
      [-301, false],
      [-300, true],
      [0, true],
      [300, true],
      [301, false],
      [1_000_000, false],
    ])('%i s from now: accepted is %s', async (offset, accepted) => {
      expect((await at(NOW_SECONDS + offset)).ok).toBe(accepted);
    });
  });
}

/** Timestamps that a lenient parser would take for one. */
export const JUNK_TIMESTAMPS: readonly string[] = [
  '',
  ' ',
  'soon',
  `${NOW_SECONDS}junk`,
  ` ${NOW_SECONDS}`,
  `${NOW_SECONDS}.5`,
  `+${NOW_SECONDS}`,
  '-1',
  '1e9',
  '0x6AE1',
  '9'.repeat(20),
];
