import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../src/crypto/secret.ts';
import {
  decodeEncryptionKey,
  hintOf,
  reencrypt,
  SecretBox,
  UnreadableSecretError,
} from '../../src/crypto/secret-box.ts';

const newKey = () => new Secret(randomBytes(32).toString('base64'));
const [KEY, OLD_KEY] = [newKey(), newKey()];
const box = new SecretBox([KEY]);
const PLACE = 'source bus_a src_a webhook';
const SECRET = 'whsec_aSecretToBeKept';

describe('a sealed secret', () => {
  it('opens as it was, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (text, place) => {
        const sealed = box.seal(text, place);
        expect(sealed).toMatch(/^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+$/);
        expect(box.open(sealed, place)).toBe(text);
        expect(box.isCurrent(sealed)).toBe(true);
      }),
    );
  });

  it('is another text every time, and shows nothing', () => {
    const sealed = Array.from({ length: 100 }, () => box.seal(SECRET, PLACE));
    expect(new Set(sealed).size).toBe(100);
    const payloads = sealed.map((text) => Buffer.from(text.split('.')[2] ?? '', 'base64url'));
    expect(new Set(payloads.map((bytes) => bytes.subarray(0, 12).toString('hex'))).size).toBe(100);
    for (const bytes of payloads) expect(bytes.includes('whsec_')).toBe(false);
  });

  it('does not open once any byte of it was changed, or lost, or added', () => {
    const sealed = box.seal(SECRET, PLACE);
    const [version = '', keyId = '', payload = ''] = sealed.split('.');
    const bytes = Buffer.from(payload, 'base64url');
    const withBytes = (changed: Buffer) => [version, keyId, changed.toString('base64url')].join('.');
    expect(box.open(withBytes(bytes), PLACE)).toBe(SECRET);
    for (const [index, byte] of bytes.entries()) {
      for (const bit of [0, 3, 7]) {
        const changed = Buffer.from(bytes);
        changed[index] = byte ^ (1 << bit);
        expect(() => box.open(withBytes(changed), PLACE), `byte ${index}`).toThrow(UnreadableSecretError);
      }
    }
    for (let length = 1; length < bytes.length; length += 1) {
      expect(() => box.open(withBytes(bytes.subarray(0, length)), PLACE)).toThrow(UnreadableSecretError);
    }
    expect(() => box.open(withBytes(Buffer.concat([bytes, Buffer.alloc(1)])), PLACE)).toThrow(UnreadableSecretError);
  });

  it('does not open at another place', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (place) => {
        fc.pre(place !== PLACE);
        expect(() => box.open(box.seal(SECRET, PLACE), place)).toThrow('changed or moved');
      }),
    );
  });

  it('does not open without its key, nor with one that is passed off as it', () => {
    const sealed = box.seal(SECRET, PLACE);
    const [, keyId = ''] = sealed.split('.');
    const stranger = new SecretBox([OLD_KEY]);
    expect(() => stranger.open(sealed, PLACE)).toThrow(`lacks the key ${keyId}`);
    const [, strangersId = ''] = stranger.seal('', '').split('.');
    expect(() => stranger.open(sealed.replace(keyId, strangersId), PLACE)).toThrow(UnreadableSecretError);
    expect(() => new SecretBox([]).open(sealed, PLACE)).toThrow(UnreadableSecretError);
  });

  it('is not quoted by the error', () => {
    const sealed = box.seal(SECRET, PLACE);
    for (const open of [() => new SecretBox([]).open(sealed, PLACE), () => box.open(sealed, 'elsewhere')]) {
      expect(open).toThrow(expect.objectContaining({ message: expect.not.stringMatching(/whsec|v1\./) }));
    }
  });
});

describe('keys that are changed', () => {
  const rotating = new SecretBox([KEY, OLD_KEY]);
  const old = new SecretBox([OLD_KEY]).seal(SECRET, PLACE);

  it('the old one still opens, the new one seals', () => {
    expect(rotating.open(old, PLACE)).toBe(SECRET);
    expect(rotating.isCurrent(old)).toBe(false);
    expect(box.open(rotating.seal(SECRET, PLACE), PLACE)).toBe(SECRET);
  });

  it('encrypt again what they can read, and name the rest, which stays as it is', () => {
    const current = box.seal('current', PLACE);
    const lost = new SecretBox([newKey()]).seal(SECRET, PLACE);
    const stored = [old, current, lost, 'plain as before there was a key', rotating.seal(SECRET, 'elsewhere')];
    const { texts, result } = reencrypt(
      rotating,
      stored.map((text, index) => ({ stored: text, place: PLACE, name: `secret ${index}` })),
    );
    // The last one is of the newest key, and was put in the place of another.
    const unreadable = [expect.stringMatching(/^secret 2: /), expect.stringMatching(/^secret 4: /)];
    expect(result).toMatchObject({ current: 1, reencrypted: 2, unreadable });
    expect([texts[1], texts[2], texts[4]]).toEqual([stored[1], stored[2], stored[4]]);
    expect(box.open(texts[0] ?? '', PLACE)).toBe(SECRET);
    expect(box.open(texts[3] ?? '', PLACE)).toBe(stored[3]);
  });
});

describe('without a key', () => {
  const none = new SecretBox([]);

  it('nothing is sealed, and what was stored as it is comes back', () => {
    expect([none.canSeal, box.canSeal]).toEqual([false, true]);
    expect(() => none.seal(SECRET, PLACE)).toThrow('no encryption key');
    expect(none.sealIfPossible(SECRET, PLACE)).toBe(SECRET);
    expect([none.open(SECRET, PLACE), box.open(SECRET, PLACE)]).toEqual([SECRET, SECRET]);
    expect([none.isCurrent(SECRET), box.isCurrent(SECRET)]).toEqual([false, false]);
    expect(box.open(box.sealIfPossible(SECRET, PLACE), PLACE)).toBe(SECRET);
  });
});

describe('an encryption key', () => {
  const bytes = Buffer.alloc(32, 0xfb);

  it.each(['base64', 'base64url', 'hex'] as const)('is read in %s', (encoding) => {
    expect(decodeEncryptionKey(bytes.toString(encoding))).toEqual(bytes);
  });

  it.each([
    ['nothing', ''],
    ['31 bytes', Buffer.alloc(31, 1).toString('base64')],
    ['33 bytes', Buffer.alloc(33, 1).toString('base64')],
    ['31 bytes in hexadecimal', Buffer.alloc(31, 1).toString('hex')],
    ['a passphrase', 'correct horse battery staple, correct horse!'],
    ['base64 with a space', `${bytes.toString('base64').slice(0, 20)} ${bytes.toString('base64').slice(20)}`],
    ['base64 with bits to spare', `${bytes.toString('base64').slice(0, 42)}t=`],
  ])('is not %s', (_, text) => {
    expect(decodeEncryptionKey(text)).toBeNull();
    expect(() => new SecretBox([new Secret(text)])).toThrow('not 32 bytes');
  });
});

it('a hint shows four characters of a long secret and none of a short one', () => {
  expect(hintOf('whsec_0123456789abcdef')).toBe('…cdef');
  expect(hintOf('0123456789abcde')).toBe('…');
  expect(hintOf('')).toBe('…');
});
