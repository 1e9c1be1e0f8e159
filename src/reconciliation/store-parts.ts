import type { PgBoss } from 'pg-boss';
import type { Tx } from '../db/transaction.ts';
import { type NewEvent, storeEvents } from '../inbox/store-events.ts';

/** Stores events that a provider's API told of; those that are there already are left as they are. */
export async function storeInParts(boss: PgBoss, tx: Tx, events: readonly NewEvent[]): Promise<void> {
  for (const some of inParts(events)) await storeEvents(boss, tx, some);
}

/** The most bytes of bodies in one statement: as its parameter they take several times as much. */
const PART_BYTES = 2 * 1024 * 1024;

/** Events in their order, in parts of so many bytes, or of one. */
function inParts(events: readonly NewEvent[]): readonly (readonly NewEvent[])[] {
  const parts: NewEvent[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const event of events) {
    bytes += event.body.length;
    if (bytes > PART_BYTES) {
      parts.push([]);
      bytes = event.body.length;
    }
    parts.at(-1)?.push(event);
  }
  return parts;
}
