import type { Pool } from './db/pool.ts';
import { autocommit } from './db/transaction.ts';
import { eventBacklog } from './inbox/backlog.ts';
import { lastAudit } from './ledger/audit-run.ts';
import { announcementBacklog } from './ledger/unannounced.ts';
import type { Metrics } from './metrics.ts';
import { reconciliationBacklog } from './reconciliation/backlog.ts';

/** Anybody may ask for the metrics, so the database is asked at most this often on their account. */
const CACHE_MS = 5_000;

interface Backlog {
  readonly parkedEvents: number;
  readonly waitingEvents: number;
  readonly oldestPendingEventSeconds: number;
  readonly unannouncedWallets: number;
  readonly oldestUnannouncedSeconds: number;
  /** Null before the first audit. */
  readonly auditDisagreements: number | null;
  readonly auditAgeSeconds: number | null;
  readonly healed: number;
  readonly unreconciled: number;
  /** Null before the first run. */
  readonly reconciliationAgeSeconds: number | null;
}

/** Adds the figures that answer "is money stuck, and do the books agree?" to the metrics. */
export function watchOperations(metrics: Metrics, pool: Pool): void {
  let cached: { readonly at: number; readonly backlog: Promise<Backlog> } | null = null;
  const read = async (pick: (backlog: Backlog) => number | null): Promise<number> => {
    if (cached === null || performance.now() - cached.at > CACHE_MS)
      cached = { at: performance.now(), backlog: readBacklog(pool) };
    // A figure that cannot be read is shown as such; it must not take the others with it.
    const backlog = await cached.backlog.catch(() => null);
    return (backlog === null ? null : pick(backlog)) ?? Number.NaN;
  };
  const watch = (name: string, help: string, pick: (backlog: Backlog) => number | null) =>
    metrics.watch(name, help, () => read(pick));
  watch('chokin_events_parked', 'Provider events that want a person.', (now) => now.parkedEvents);
  watch('chokin_events_waiting', 'Early refunds and disputes that wait for their payment.', (now) => now.waitingEvents);
  watch(
    'chokin_event_pending_oldest_seconds',
    'Age of the oldest event not applied yet; 0 if there is none.',
    (now) => now.oldestPendingEventSeconds,
  );
  watch(
    'chokin_wallets_unannounced',
    'Wallets with something the merchant was not told yet.',
    (now) => now.unannouncedWallets,
  );
  watch(
    'chokin_wallet_unannounced_oldest_seconds',
    'How long the longest of them has waited.',
    (now) => now.oldestUnannouncedSeconds,
  );
  watch(
    'chokin_audit_disagreements',
    'What the last audit of the books found; anything but 0 is an alarm.',
    (now) => now.auditDisagreements,
  );
  watch('chokin_audit_age_seconds', 'How long ago the last audit was.', (now) => now.auditAgeSeconds);
  watch(
    'chokin_reconciliation_healed',
    'Payments, refunds and disputes without a webhook that comparing with the providers has healed, in the last 90 days.',
    (now) => now.healed,
  );
  watch(
    'chokin_reconciliation_unresolved',
    'What the last comparison of each source left for a person: what differs, and payments the provider does not know.',
    (now) => now.unreconciled,
  );
  watch(
    'chokin_reconciliation_age_seconds',
    'How long ago the source that has waited longest was last compared to the end.',
    (now) => now.reconciliationAgeSeconds,
  );
}

async function readBacklog(pool: Pool): Promise<Backlog> {
  const db = autocommit(pool);
  const [events, announcements, audit, reconciliation] = await Promise.all([
    eventBacklog(db),
    announcementBacklog(db),
    lastAudit(db),
    reconciliationBacklog(db),
  ]);
  return {
    ...events,
    ...announcements,
    ...reconciliation,
    auditDisagreements: audit?.disagreements ?? null,
    auditAgeSeconds: audit?.ageSeconds ?? null,
  };
}
