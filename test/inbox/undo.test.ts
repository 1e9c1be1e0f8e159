import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UndoLog, UndoMap } from '../../src/inbox/undo.ts';

type Step =
  | { readonly do: 'set'; readonly key: string; readonly value: number }
  | { readonly do: 'delete'; readonly key: string }
  | { readonly do: 'takeAll' | 'mark' | 'undo' };

const key = fc.constantFrom('a', 'b', 'c', 'd');
const steps: fc.Arbitrary<readonly (readonly [0 | 1, Step])[]> = fc.array(
  fc.tuple(
    fc.constantFrom<0 | 1>(0, 1),
    fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: fc.constant('set' as const), key, value: fc.nat(9) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constantFrom('takeAll' as const, 'mark' as const, 'undo' as const) }),
      },
    ),
  ),
  { minLength: 10, maxLength: 60, size: 'max' },
);

/** Two maps in one log, beside two plain maps that are copied whole with each mark. */
class Both {
  readonly log = new UndoLog();
  readonly maps = [new UndoMap<string, { value: number }>(this.log), new UndoMap<string, { value: number }>(this.log)];
  readonly marks: { undo: () => void; copies: Map<string, number>[] }[] = [];
  plain = [new Map<string, number>(), new Map<string, number>()];

  run(which: 0 | 1, step: Step): void {
    const map = this.maps[which];
    const plain = this.plain[which];
    if (map === undefined || plain === undefined) throw new Error('there are two maps');
    switch (step.do) {
      case 'set':
        map.set(step.key, { value: step.value });
        plain.set(step.key, step.value);
        return;
      case 'delete':
        map.delete(step.key);
        plain.delete(step.key);
        return;
      case 'takeAll':
        expect(valuesOf(map.takeAll())).toEqual(plain);
        plain.clear();
        return;
      case 'mark':
        this.marks.push({ undo: this.log.mark(), copies: this.plain.map((one) => new Map(one)) });
        return;
      case 'undo': {
        const mark = this.marks.pop();
        mark?.undo();
        this.plain = mark?.copies ?? this.plain;
      }
    }
  }
}

const valuesOf = (entries: readonly (readonly [string, { value: number }])[]) =>
  new Map(entries.map(([name, { value }]) => [name, value]));

describe('maps that can be undone', () => {
  it('are after each step what maps are that were copied with each mark', () => {
    const seen = { undone: 0 };
    fc.assert(
      fc.property(steps, (all) => {
        const both = new Both();
        for (const [which, step] of all) {
          if (step.do === 'undo' && both.marks.length > 0) seen.undone += 1;
          both.run(which, step);
          for (const [index, map] of both.maps.entries()) {
            const plain = both.plain[index] ?? new Map();
            expect(valuesOf(map.entries())).toEqual(plain);
            expect(map.size).toBe(plain.size);
            expect(new Set(map.keys())).toEqual(new Set(plain.keys()));
            for (const name of ['a', 'b', 'c', 'd']) {
              expect(map.has(name)).toBe(plain.has(name));
              expect(map.get(name)?.value).toBe(plain.get(name));
            }
          }
        }
      }),
      { numRuns: 500 },
    );
    expect(seen.undone).toBeGreaterThan(300);
  });
});
