import { lastAudit } from '../audit/run.ts';
import { type QueueBacklog, queueBacklogs } from '../db/queues.ts';
import type { ReadsInTurn } from '../db/readers.ts';
import type { Queryable } from '../db/transaction.ts';
import { eventBacklog } from '../inbox/backlog.ts';
import { outboxBacklog } from '../ledger/outbox-waiting.ts';
import { type DeliveryBacklog, deliveryBacklog } from '../outgoing/backlog.ts';
import { type ReconciliationBacklog, reconciliationBacklog } from '../reconciliation/backlog.ts';
import { type ScheduleBacklog, scheduleBacklog } from '../schedules/backlog.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { IN_FLIGHT } from '../top-ups/attempt.ts';
import { type TopUpBacklog, topUpBacklog } from '../top-ups/backlog.ts';

/** Anybody may ask for the metrics, so figures are read from the database at most this often. */
const CACHE_MS = 5_000;

interface Backlog extends ReconciliationBacklog, DeliveryBacklog, ScheduleBacklog, TopUpBacklog {
  readonly parkedEvents: number;
  readonly waitingEvents: number;
  readonly oldestPendingEventSeconds: number;
  readonly walletsInOutbox: number;
  readonly oldestInOutboxSeconds: number;
  readonly queues: readonly QueueBacklog[];
  /** Null before the first audit. */
  readonly auditDisagreements: number | null;
  readonly auditAgeSeconds: number | null;
}

type Figure = readonly [name: string, help: string, pick: (backlog: Backlog) => number | null];

/** Every figure that is read from the database, by its name: what may be stuck, and for how long. */
const FIGURES: readonly Figure[] = [
  ['chokin_events_parked', 'Provider events that want a person.', (now) => now.parkedEvents],
  ['chokin_events_waiting', 'Early refunds and disputes that wait for their payment.', (now) => now.waitingEvents],
  [
    'chokin_event_pending_oldest_seconds',
    'Age of the oldest event not applied yet; 0 if there is none.',
    (now) => now.oldestPendingEventSeconds,
  ],
  ['chokin_wallets_unannounced', 'Wallets with something the merchant was not told yet.', (now) => now.walletsInOutbox],
  [
    'chokin_wallet_unannounced_oldest_seconds',
    'How long the longest of them has waited.',
    (now) => now.oldestInOutboxSeconds,
  ],
  [
    'chokin_messages_unsent',
    'Messages to merchants that belong to no wallet and were not handed over yet.',
    (now) => now.unsentMessages,
  ],
  [
    'chokin_message_unsent_oldest_seconds',
    'How long the longest of them has waited.',
    (now) => now.oldestUnsentSeconds,
  ],
  [
    'chokin_deliveries_pending',
    'Deliveries of the embedded sender to come, those that wait for their next try too.',
    (now) => now.pendingDeliveries,
  ],
  [
    'chokin_deliveries_failed',
    'Deliveries of the embedded sender that were given up; they can be asked for again.',
    (now) => now.failedDeliveries,
  ],
  [
    'chokin_delivery_overdue_oldest_seconds',
    'How late the most overdue try of the embedded sender is; 0 if none is.',
    (now) => now.overdueSeconds,
  ],
  ['chokin_schedules_due', 'Scheduled entries and grants that are due and not posted.', (now) => now.schedulesDue],
  [
    'chokin_schedule_due_oldest_seconds',
    'How late the most overdue of them is; 0 if none is.',
    (now) => now.scheduleLateSeconds,
  ],
  [
    'chokin_topup_unconfirmed_oldest_seconds',
    'Age of the oldest top-up that its provider called charged and no event has confirmed, so that nothing is credited; 0 if there is none.',
    (now) => now.unconfirmedTopUpSeconds,
  ],
  [
    'chokin_topup_unknown_oldest_seconds',
    'Age of the oldest top-up of which its provider has not said what became of it; 0 if there is none.',
    (now) => now.unknownTopUpSeconds,
  ],
  [
    'chokin_topup_late_seconds',
    'How late the most overdue look at a wallet is that may have to be filled up; 0 if none is.',
    (now) => now.topUpLateSeconds,
  ],
  [
    'chokin_topup_rules_suspended',
    'Enabled top-up rules that charge nobody until something changes.',
    (now) => now.suspendedTopUpRules,
  ],
  [
    'chokin_audit_disagreements',
    'What the last audit of the books found; anything but 0 is an alarm.',
    (now) => now.auditDisagreements,
  ],
  ['chokin_audit_age_seconds', 'How long ago the last audit was.', (now) => now.auditAgeSeconds],
  [
    'chokin_reconciliation_healed',
    'Payments, refunds and disputes without a webhook that comparing with the providers has healed, in the last 7 days.',
    (now) => now.healed,
  ],
  [
    'chokin_reconciliation_unresolved',
    'What the last comparison of each source left for a person: what differs, and payments the provider does not know.',
    (now) => now.unreconciled,
  ],
  [
    'chokin_reconciliation_failed',
    'Sources whose last comparison with the provider failed, such as for a wrong API key.',
    (now) => now.failedSources,
  ],
  [
    'chokin_reconciliation_age_seconds',
    'How long ago the source that has waited longest was last compared to the end.',
    (now) => now.reconciliationAgeSeconds,
  ],
];

/** Whose turn it is that the figures are read in. */
const OWNER = 'metrics';

/** Adds the figures that answer "is money stuck, and do the books agree?" to the metrics. */
export function watchOperations(metrics: Metrics, readers: ReadsInTurn): void {
  let cached: { readonly at: number; readonly backlog: Promise<Backlog> } | null = null;
  /** Null if the database does not answer. A figure shows this, and the figures from memory are still served. */
  const read = (): Promise<Backlog | null> => {
    if (cached === null || performance.now() - cached.at > CACHE_MS)
      cached = { at: performance.now(), backlog: readers.read(OWNER, readBacklog) };
    return cached.backlog.catch(() => null);
  };
  for (const [name, help, pick] of FIGURES) {
    metrics.watch(name, help, async () => {
      const backlog = await read();
      return (backlog === null ? null : pick(backlog)) ?? Number.NaN;
    });
  }
  const perQueue = async (pick: (queue: QueueBacklog) => number) =>
    new Map((await read())?.queues.map((queue) => [queue.name, pick(queue)]));
  const due = {
    name: 'chokin_jobs_due',
    help: 'Jobs that are due and were not taken up yet, by queue; of jobs of many events, the events.',
  };
  metrics.watchEach({ ...due, label: 'queue' }, () => perQueue((queue) => queue.due));
  const dead = { name: 'chokin_jobs_dead', help: 'Jobs that were given up and wait for somebody to redrive them.' };
  metrics.watchEach({ ...dead, label: 'queue' }, () => perQueue((queue) => queue.dead));
  const topUps = { name: 'chokin_topups_in_flight', help: 'Top-ups that are under way, by state.' };
  metrics.watchEach({ ...topUps, label: 'state' }, async () => {
    const inFlight = (await read())?.topUpsInFlight;
    return new Map(inFlight === undefined ? [] : IN_FLIGHT.map((state) => [state, inFlight.get(state) ?? 0]));
  });
}

/** One statement after another, since a turn has one connection. */
async function readBacklog(db: Queryable): Promise<Backlog> {
  const audit = await lastAudit(db);
  return {
    ...(await eventBacklog(db)),
    ...(await outboxBacklog(db)),
    ...(await deliveryBacklog(db)),
    ...(await reconciliationBacklog(db)),
    ...(await scheduleBacklog(db)),
    ...(await topUpBacklog(db)),
    queues: await queueBacklogs(db),
    auditDisagreements: audit?.disagreements ?? null,
    auditAgeSeconds: audit?.ageSeconds ?? null,
  };
}
