import { Counter, type Registry } from 'prom-client';

/** Counters of what happens seldom. */

/** What retention deletes or empties. */
const FORGOTTEN = [
  ...(['event_bodies', 'ignored_events', 'messages', 'recoveries', 'alerts', 'reconciliations', 'audit_runs'] as const),
];

export interface RareCounts {
  /** Retention deleted or emptied so many things of a kind. */
  countForgotten(what: (typeof FORGOTTEN)[number], count: number): void;
  /** A merchant was warned of an idempotency key. */
  countKeyWarning(kind: 'unstable_key' | 'near_duplicate'): void;
}

export function rareCounts(registry: Registry): RareCounts {
  const forgotten = new Counter({
    name: 'chokin_retention_forgotten_total',
    help: 'What was deleted or emptied since it was older than the RETENTION_… settings say, by its kind.',
    labelNames: ['what'],
    registers: [registry],
  });
  const keyWarnings = new Counter({
    name: 'chokin_key_warnings_total',
    help: 'Idempotency keys that hold the time, and entries that are the same but for their keys.',
    labelNames: ['kind'],
    registers: [registry],
  });
  // As the others, they begin at zero.
  for (const what of FORGOTTEN) forgotten.inc({ what }, 0);
  for (const kind of ['unstable_key', 'near_duplicate']) keyWarnings.inc({ kind }, 0);
  return {
    countForgotten: (what, count) => forgotten.inc({ what }, count),
    countKeyWarning: (kind) => keyWarnings.inc({ kind }),
  };
}
