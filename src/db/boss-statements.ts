import type { SqlText } from './sql-text.ts';

/** Queues whose jobs are made with a commit of events or of entries, and taken up as soon. */
const BUSY = ['apply-provider-events', 'apply-provider-event', 'announce-balance-changes', 'deliver-webhook'];

/** Texts are few, since nothing but the queue and the size of a claim is written into them. */
const MOST = 50;

/** Of claims only those that find a job by its id, whatever the table was like when they were planned (`BOUNDED_FETCH`). */
const OF_BUSY = BUSY.flatMap((name) => [`where name = '${name}' and j.id = any`, `'${name}' as name`]);
/** Completing jobs, or saying that they are still under way. */
const OF_CLAIMS = /^\s*with [^;]*\bupdate [^;]* name = \$1\s+and (?:\w\.)?id = /i;

const kept = new Map<string, SqlText>();

/**
 * A statement of pg-boss' with a name, under which a connection keeps what it made of the text, if it runs with each commit or each batch. Without one
 * the server reads and plans it anew each time, which takes longer than carrying it out.
 */
export function keptOfBoss(text: string): SqlText {
  const known = kept.get(text);
  if (known !== undefined) return known;
  const lower = text.toLowerCase();
  const isFrequent = OF_BUSY.some((part) => lower.includes(part)) || OF_CLAIMS.test(text);
  if (!isFrequent || kept.size >= MOST) return text;
  const named = { name: `boss-${kept.size + 1}`, text };
  kept.set(text, named);
  return named;
}
