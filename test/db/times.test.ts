import pg from 'pg';
import { expect, it } from 'vitest';
import { millisecondsOf } from '../../src/db/pool.ts';

/** Times are read in a quicker way than the driver's, and are the same. */

const byDriver = pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ);

it('reads each millisecond, and what is finer, as the driver does', () => {
  for (let index = 0; index < 20_000; index += 1) {
    const micros = index < 1_000 ? index * 1_000 : (index * 7_919) % 1_000_000;
    const fraction = micros === 0 ? '' : `.${String(micros).padStart(6, '0').replace(/0+$/, '')}`;
    const two = (value: number) => String(value).padStart(2, '0');
    const day = `${1000 + (index % 9_000)}-${two(1 + (index % 12))}-${two(1 + (index % 28))}`;
    const text = `${day} ${two(index % 24)}:${two(index % 60)}:${two((index * 7) % 60)}${fraction}+00`;
    expect(new Date(millisecondsOf(text) ?? Number.NaN), text).toEqual(byDriver(text));
  }
});

it.each([
  'infinity',
  '-infinity',
  '2026-11-30',
  '0044-03-15 00:00:00+00 BC',
  '0001-01-01 00:00:00+00',
  '12026-11-30 01:02:03+00',
  '2026-11-30 01:02:03.5+05:30',
  '2026-11-30 01:02:03-00',
  '2026-11-30 01:02:03',
  '30/11/2026 01:02:03.5 UTC',
  '2026-11-30T01:02:03.5+00',
  '',
])('leaves %s to the driver', (text) => {
  expect(millisecondsOf(text)).toBeNull();
});
