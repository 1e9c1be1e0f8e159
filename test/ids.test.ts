import { describe, expect, it } from 'vitest';
import { newId } from '../src/ids.ts';

describe('newId', () => {
  it.each([
    ['merchant', 'bus'],
    ['customer', 'cus'],
    ['event', 'evt'],
    ['endpoint', 'ep'],
    ['message', 'whm'],
    ['apiKey', 'key'],
    ['attempt', 'atmpt'],
  ] as const)('of a %s begins with %s and fits its column', (kind, prefix) => {
    expect(newId(kind)).toMatch(new RegExp(`^${prefix}_[0-9a-z]{26}$`));
  });

  it('is never the same twice, and sorts by the time it was made', () => {
    const ids = Array.from({ length: 2000 }, () => newId('event'));
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.toSorted()).toEqual(ids);
  });
});
