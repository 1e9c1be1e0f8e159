import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inJobs, nextThatFit, type SharedEvents } from '../../src/inbox/shared-jobs.ts';

const event = fc.record({
  merchantId: fc.constantFrom('mer_a', 'mer_b', 'mer_c'),
  eventId: fc.uuid(),
  turn: fc.nat(40),
  bytes: fc.nat(50),
});
const events = fc.uniqueArray(event, { selector: ({ eventId }) => eventId, maxLength: 60 });
const LIMITS = { events: 7, bytes: 100, turns: 9 };

const idsOf = (some: readonly { readonly eventId: string }[]) => some.map(({ eventId }) => eventId).sort();
const sumOf = (jobs: readonly SharedEvents[], of: (job: SharedEvents) => number) =>
  jobs.reduce((sum, job) => sum + of(job), 0);

describe('the events of a commit', () => {
  it('are each in one job, and no job is larger than the limits, but for a single event', () => {
    fc.assert(
      fc.property(events, (given) => {
        const jobs = inJobs(given, LIMITS);
        const byId = new Map(given.map((one) => [one.eventId, one]));
        expect(idsOf(jobs.flatMap((job) => job.events))).toEqual(idsOf(given));
        for (const job of jobs) {
          const own = job.events.flatMap(({ eventId }) => byId.get(eventId) ?? []);
          expect(job.events.length).toBeLessThanOrEqual(LIMITS.events);
          expect(job.bytes).toBe(own.reduce((sum, { bytes }) => sum + bytes, 0));
          if (own.length > 1) expect(job.bytes).toBeLessThanOrEqual(LIMITS.bytes);
          const turns = own.map(({ turn }) => turn);
          expect(turns).toEqual(turns.toSorted((a, b) => a - b));
          expect((turns.at(-1) ?? 0) - (turns[0] ?? 0)).toBeLessThan(LIMITS.turns);
          expect(job.priority + (turns[0] ?? 0)).toBe(0);
        }
      }),
    );
  });
});

describe('the jobs of a claim', () => {
  const claims = fc.array(
    events.filter(({ length }) => length > 0).map((own) => inJobs(own, LIMITS)),
    { minLength: 1, maxLength: 8 },
  );

  it('are taken in their turns, up to the limits and one at least; the rest waits', () => {
    fc.assert(
      fc.property(claims, (given) => {
        const { batch, left } = nextThatFit(given.flat(), LIMITS);
        expect(new Set([...batch, ...left])).toEqual(new Set(given.flat()));
        expect(batch.length + left.length).toBe(given.flat().length);
        expect(batch.length).toBeGreaterThan(0);
        if (batch.length > 1) {
          expect(sumOf(batch, (job) => job.events.length)).toBeLessThanOrEqual(LIMITS.events);
          expect(sumOf(batch, (job) => job.bytes)).toBeLessThanOrEqual(LIMITS.bytes);
        }
        const last = Math.min(...batch.map(({ priority }) => priority));
        for (const { priority } of left) expect(priority).toBeLessThanOrEqual(last);
      }),
    );
  });
});
