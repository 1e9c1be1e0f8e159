import { describe, expect, it } from 'vitest';
import { ByteBudget, type BytesOf } from '../../src/http/kit/byte-budget.ts';
import { NoRoomError } from '../../src/http/kit/limited.ts';
import type { Limited } from '../../src/telemetry/metrics.ts';

/** Of 400 bytes in all, an address and a party may hold 100 each. */
function budget() {
  const noted: string[] = [];
  const clock = { nowMs: 0 };
  const note = ({ who, limit }: Limited, whom: string) => noted.push(`${who} ${limit} ${whom}`);
  const bodies = new ByteBudget({ limit: 'bodies', limitBytes: 400, note, nowMs: () => clock.nowMs });
  const gone: string[] = [];
  const open = (name: string, address: string, id: string, kind: BytesOf['party']['kind'] = 'source') =>
    bodies.open({ address, party: { kind, id } }, (error) => {
      expect(error).toBeInstanceOf(NoRoomError);
      gone.push(name);
    });
  return { bodies, noted, gone, open, clock };
}

describe('the memory for bodies', () => {
  it('is counted by what has arrived, until the body is answered', () => {
    const { bodies, gone, open } = budget();
    const one = open('one', '192.0.2.1', 'src_1');
    expect(bodies.bytes).toBe(0);
    expect([one.hold(40), one.hold(60)]).toEqual([true, true]);
    one.complete();
    expect(bodies.bytes).toBe(60);
    one.release();
    one.release();
    expect([bodies.bytes, gone]).toEqual([0, []]);
  });

  it('is shared by address: one over its share loses the body that took most room for longest, and another address keeps its own', () => {
    const { noted, gone, open, clock } = budget();
    const other = open('other', '192.0.2.2', 'src_9');
    other.hold(1);
    const slow = open('slow', '192.0.2.1', 'src_1');
    slow.hold(10);
    clock.nowMs = 1_000;
    open('fast', '192.0.2.1', 'src_2').hold(60);
    expect(open('new', '192.0.2.1', 'src_3').hold(31)).toBe(true);
    expect([gone, noted]).toEqual([['slow'], ['address bodies 192.0.2.1']]);
    expect(slow.hold(20)).toBe(false);
    expect(other.hold(90)).toBe(true);
  });

  it('is shared by source and by merchant, wherever their bodies come from', () => {
    const { bodies, noted, gone, open, clock } = budget();
    open('a', '192.0.2.1', 'bus_1', 'merchant').hold(30);
    clock.nowMs = 1_000;
    open('b', '192.0.2.2', 'bus_1', 'merchant').hold(60);
    clock.nowMs = 1_001;
    open('c', '192.0.2.3', 'bus_1', 'merchant').hold(70);
    expect(gone[0]).toBe('a');
    expect(noted[0]).toBe('merchant bodies bus_1');
    expect(bodies.bytes).toBeLessThanOrEqual(100);
    expect(open('d', '192.0.2.1', 'src_1').hold(90)).toBe(true);
  });

  it('is never taken from a body that is whole: then the new one has to go', () => {
    const { gone, open } = budget();
    const whole = open('whole', '192.0.2.1', 'src_1');
    whole.hold(100);
    whole.complete();
    expect(open('new', '192.0.2.2', 'src_1').hold(1)).toBe(false);
    expect(gone).toEqual(['new']);
  });

  it('is bounded in all: who has most of it has to give way, and not whoever comes', () => {
    const { bodies, noted, gone, open } = budget();
    for (let n = 1; n <= 4; n += 1) open(`much ${n}`, `192.0.2.${n}`, `src_${n}`).hold(n === 2 ? 100 : 99);
    expect(bodies.bytes).toBe(397);
    expect(open('little', '192.0.2.9', 'src_9').hold(5)).toBe(true);
    expect([gone, noted]).toEqual([['much 2'], ['process bodies src_2']]);
  });

  it('leaves a small body that comes at once beside many large ones that are under way', () => {
    const { gone, open, clock } = budget();
    for (let n = 0; n < 10; n += 1) open('large', '192.0.2.1', 'src_1').hold(10);
    for (let n = 0; n < 50; n += 1) {
      const small = open('small', '192.0.2.1', 'src_1');
      clock.nowMs += 1;
      expect(small.hold(5)).toBe(true);
      small.complete();
      small.release();
      open('large', '192.0.2.1', 'src_1').hold(10);
    }
    expect(gone).not.toContain('small');
    expect(gone).toContain('large');
  });
});

describe('the memory for answers', () => {
  const stranger = (id: string) => ({ address: id, party: { kind: 'merchant', id } }) as const;
  const answers = () => {
    const clock = { nowMs: 0 };
    const gone: string[] = [];
    const options = {
      limit: 'answers',
      limitBytes: 400,
      patienceMs: 1_000,
      note: () => {},
      nowMs: () => clock.nowMs,
    } as const;
    const budget = new ByteBudget(options);
    const open = (name: string, isOwed = false) => budget.open(stranger('one'), () => gone.push(name), isOwed);
    return { budget, gone, open, clock };
  };

  it('is left to an answer for a while, in which a new one is refused; then the old one goes', () => {
    const { gone, open, clock } = answers();
    expect(open('first').hold(80)).toBe(true);
    clock.nowMs = 999;
    expect(open('second').hold(80)).toBe(false);
    clock.nowMs = 1_000;
    expect(open('third').hold(80)).toBe(true);
    expect(gone).toEqual(['second', 'first']);
  });

  it('is taken from older ones at once for an answer that is owed, which is never refused', () => {
    const { budget, gone, open } = answers();
    open('first').hold(80);
    expect(open('owed', true).hold(90)).toBe(true);
    expect([gone, budget.bytes]).toEqual([['first'], 90]);
    expect(open('more than there is', true).hold(500)).toBe(true);
    expect(gone).toEqual(['first', 'owed']);
  });
});
