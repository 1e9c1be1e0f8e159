import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newId } from '../../../src/ids.ts';
import { unstableKey } from '../../../src/merchants/key-guard/unstable-key.ts';

const NOW = new Date('2026-11-29T15:20:30Z');
const SECONDS = Math.floor(NOW.getTime() / 1000);
const MS = NOW.getTime();
const DAY = 86_400;

describe('a key is unstable', () => {
  it.each([
    ['a time in seconds', `${SECONDS}`],
    ['a time in milliseconds', `${MS}`],
    ['a time behind a name', `topup_cus_1_${MS}`],
    ['a time behind a name without a sign between', `order${SECONDS}`],
    ['a time before a name', `${MS}retry`],
    ['a time with a fraction', `${SECONDS}.250`],
    ['a time of yesterday', `job-${SECONDS - DAY}`],
    ['a time of tomorrow', `job-${SECONDS + DAY}`],
    ['a time beside an id', `0b8f5d1e-7f3a-4c1b-9a52-3f5f1c0d9e11-${MS}`],
    ['an ISO time', 'pay-2026-11-29T15:20:30.250Z'],
    ['an ISO time to the minute', 'pay-2026-11-29T15:20Z'],
    ['an ISO time without signs', '20261129T152030Z'],
    ['an ISO time without a zone', '2026-11-29 15:20:31'],
    ['an ISO time of another zone', '2026-11-29T16:20:00+01:00'],
    ['an ISO time of a zone without a colon', '2026-11-29T20:50:30+0530'],
  ])('if it holds %s', (_, key) => {
    expect(unstableKey(key, NOW)).toBe(true);
  });
});

describe('a key is stable', () => {
  it.each([
    ['a time more than a day ago', `job-${SECONDS - DAY - 1}`],
    ['a time more than a day ahead', `job-${SECONDS + DAY + 1}`],
    ['milliseconds more than a day ago', `job-${MS - DAY * 1000 - 1}`],
    ['an ISO time more than a minute ago', 'pay-2026-11-29T15:19:29Z'],
    ['a day', 'renewal-2026-11-29'],
    ['a month', 'usage-2026-11'],
    ['an order number', 'order-4711'],
    ['a long order number', '4000001234'],
    ['a run of eleven digits that begins as the time does', `${SECONDS}1`],
    ['a run of twelve digits', `${SECONDS}12`],
    ['a run of sixteen digits, as of a card', `${MS}123`],
    ['a time within an id of letters and digits', `x9${SECONDS}k2`],
    ['a UUID with the time among its digits', `0b8f5d1e-7f3a-4c1b-9a52-ab${SECONDS}`],
    ['no time that there is', '2026-13-41T25:61:00Z'],
    ['nothing', ''],
  ])('if it holds %s', (_, key) => {
    expect(unstableKey(key, NOW)).toBe(false);
  });

  it('if it is a UUID, a UUID v7, a ULID or one of our ids, made now', () => {
    const hex = (length: number) =>
      fc
        .array(fc.constantFrom(...'0123456789abcdef'), { minLength: length, maxLength: length })
        .map((all) => all.join(''));
    const crockford = fc
      .array(fc.constantFrom(...'0123456789ABCDEFGHJKMNPQRSTVWXYZ'), { minLength: 16, maxLength: 16 })
      .map((all) => all.join(''));
    const v7 = MS.toString(16).padStart(12, '0');
    const ulidTime = [...Array(10).keys()]
      .map((place) => '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[Math.floor(MS / 32 ** (9 - place)) % 32])
      .join('');
    fc.assert(
      fc.property(fc.uuid(), hex(3), hex(3), hex(12), crockford, (uuid, a, b, c, rest) => {
        const keys = [
          uuid,
          `${v7.slice(0, 8)}-${v7.slice(8)}-7${a}-8${b}-${c}`,
          `${v7}7${a}8${b}${c}`,
          ulidTime + rest,
        ];
        for (const key of [...keys, newId('message')]) expect(unstableKey(key, NOW)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it('whatever text it is, and is never slow to judge', () => {
    fc.assert(fc.property(fc.string({ maxLength: 255 }), (key) => typeof unstableKey(key, NOW) === 'boolean'));
    const startedMs = performance.now();
    for (const part of ['a', '1', '2026-11-29T', `${SECONDS}a`]) unstableKey(part.repeat(255).slice(0, 255), NOW);
    expect(performance.now() - startedMs).toBeLessThan(100);
  });
});
