import { describe, expect, it } from 'vitest';
import { UnreadableSecretError } from '../../src/crypto/secret-box.ts';
import { InvariantError } from '../../src/errors.ts';
import { isOurFailure, isSvixError, readSvixFailure } from '../../src/outgoing/svix/answers.ts';
import { describeSvixFailure } from '../../src/outgoing/svix/failures.ts';

/** What Svix's client threw, read: the pure part of the edge to Svix. */

const NOW = new Date('2026-03-01T00:00:00Z');
const answered = (code: number, more: object = {}) => Object.assign(new Error('HTTP'), { code, headers: {}, ...more });
const timeout = Object.assign(new Error('too slow'), { name: 'TimeoutError' });

describe('what a call to Svix threw', () => {
  it.each<[string, unknown, boolean]>([
    ['an answer with a status', answered(404), true],
    ['no answer in time', timeout, true],
    ['a page that is no JSON', new SyntaxError('Unexpected token <'), true],
    ['nothing that listens', new TypeError('fetch failed'), true],
    ['an error of ours', new Error('a mistake'), false],
    ['an error of the database’s driver', Object.assign(new Error('gone'), { code: '57P01' }), false],
    ['something that is no error', 'oops', false],
  ])('%s', (_, thrown, isSvix) => {
    expect(isSvixError(thrown)).toBe(isSvix);
  });

  it('is none of Svix’s where a secret does not open or a promise of ours is broken', () => {
    expect(isOurFailure(new UnreadableSecretError('the key is gone'))).toBe(true);
    expect(isOurFailure(new InvariantError('a count without a row'))).toBe(true);
    expect(isOurFailure(answered(500))).toBe(false);
  });

  it.each<[string, unknown, object]>([
    ['409', answered(409), { kind: 'conflict' }],
    [
      '400 with a text',
      answered(400, { body: { detail: 'limit_reached' } }),
      { kind: 'refused', detail: 'limit_reached' },
    ],
    ['422 without a body', answered(422), { kind: 'refused', detail: 'no reason given' }],
    [
      '429 with a date',
      answered(429, { headers: { 'retry-after': 'Sun, 01 Mar 2026 00:00:30 GMT' } }),
      { retryAfterSeconds: 30 },
    ],
    ['429 without a word', answered(429), { retryAfterSeconds: 5 }],
    [
      'a name that does not resolve',
      new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ENOTFOUND' }) }),
      { kind: 'unavailable', reason: 'Svix could not be reached (ENOTFOUND)' },
    ],
    ['nobody knows what', 'oops', { kind: 'unavailable', reason: 'Svix could not be called' }],
  ])('is read: %s', (_, thrown, failure) => {
    expect(readSvixFailure(thrown, NOW)).toMatchObject(failure);
  });

  it('is told in words that say who can mend it, and never without naming Svix', () => {
    const failures = [
      answered(409),
      answered(404),
      answered(401),
      answered(429),
      answered(422),
      answered(500),
      timeout,
    ];
    const texts = failures.map((thrown) => describeSvixFailure(readSvixFailure(thrown, NOW), 'the Svix here'));
    for (const text of texts) expect(text).toContain('the Svix here');
    expect(new Set(texts).size).toBe(texts.length);
  });
});
