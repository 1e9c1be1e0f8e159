import pg from 'pg';
import { expect, it } from 'vitest';
import { HeldUp } from '../../src/db/held-up.ts';

const coded = (code: string) => Object.assign(new pg.DatabaseError('not free', 0, 'error'), { code });
const of = (...merchants: readonly string[]) => merchants.map((merchantId) => ({ merchantId }));

it('a merchant for whom was waited in vain is hurried from then on, and no other is', () => {
  const heldUp = new HeldUp();
  expect(heldUp.lockTimeoutMs(of('a'))).toBeNull();
  heldUp.note(coded('55P03'), of('a', 'a'));
  expect([of('a'), of('a', 'b'), of('b')].map((items) => heldUp.lockTimeoutMs(items))).toEqual([50, 50, null]);
});

it('of a transaction of several merchants, and of other failures, nobody is hurried', () => {
  const heldUp = new HeldUp();
  heldUp.note(coded('55P03'), of('a', 'b'));
  heldUp.note(coded('23505'), of('a'));
  heldUp.note(new Error('poison'), of('a'));
  expect(heldUp.lockTimeoutMs(of('a', 'b'))).toBeNull();
});

it('once five merchants are held up everybody is hurried, so that a run comes to its end', () => {
  const heldUp = new HeldUp();
  for (const merchantId of ['a', 'b', 'c', 'd']) heldUp.note(coded('55P03'), of(merchantId));
  expect(heldUp.lockTimeoutMs(of('z'))).toBeNull();
  heldUp.note(coded('57014'), of('e'));
  expect(heldUp.lockTimeoutMs(of('z'))).toBe(50);
});

it('what is of a merchant who is found to be held up on the way comes last, and nothing is left out', () => {
  const heldUp = new HeldUp();
  const items = ['a1', 'b1', 'a2', 'c1', 'a3'].map((name) => ({ name, merchantId: name.slice(0, 1) }));
  const order: string[] = [];
  for (const item of heldUp.last(items)) {
    order.push(item.name);
    if (item.name === 'a1') heldUp.note(coded('55P03'), [item]);
  }
  expect(order).toEqual(['a1', 'b1', 'c1', 'a2', 'a3']);
});
