import type { QueueName } from '../db/queues.ts';
import type { Span, Tracing } from '../telemetry/tracing.ts';
import type { EventWork } from './event-work.ts';
import type { LockedEvent } from './events.ts';

/**
 * The spans of one batch of events: each event's goes on with the trace of its delivery, and that of the batch, where there
 * are several, is linked with all of them. A transaction that runs again goes on with the same spans. Where traces are off,
 * there are no spans.
 */
export class ApplyTrace {
  readonly #tracing: Tracing;
  readonly #spans = new Map<string, Span>();
  readonly #queue: Readonly<Record<string, string>>;
  #batch: Span | null = null;

  /** @param queue from which the events' jobs come */
  constructor(tracing: Tracing, queue: QueueName) {
    this.#tracing = tracing;
    this.#queue = { 'messaging.system': 'pg-boss', 'messaging.destination.name': queue };
  }

  begin(events: readonly LockedEvent[]): void {
    if (!this.#tracing.isOn) return;
    if (events.length > 1) this.#batch ??= this.#beginBatch(events);
    const links = [this.#batch?.traceParent ?? []].flat();
    for (const { eventId, provider, eventType, traceParent } of events) {
      if (this.#spans.has(eventId)) continue;
      const attributes = {
        ...this.#queue,
        'chokin.event.id': eventId,
        'chokin.event.type': eventType,
        'chokin.provider': provider,
      };
      this.#spans.set(
        eventId,
        this.#tracing.start('apply event', { kind: 'consumer', parent: traceParent, links, attributes }),
      );
    }
  }

  /** By which what follows from an event goes on with its trace. */
  traceParent(eventId: string): string | null {
    return this.#spans.get(eventId)?.traceParent ?? null;
  }

  /** The batch was committed. */
  applied(works: readonly EventWork[]): void {
    for (const { event, verdict } of works) {
      const reason = verdict.reason === null ? {} : { 'chokin.reason': verdict.reason };
      this.#spans.get(event.eventId)?.end({ 'chokin.outcome': verdict.state, ...reason });
    }
    this.#batch?.end({ 'chokin.outcome': 'committed' });
  }

  /** Nothing of the batch was. */
  failed(error: unknown): void {
    for (const span of this.#spans.values()) span.end({ 'chokin.outcome': 'undone' }, error);
    this.#batch?.end({ 'chokin.outcome': 'undone' }, error);
  }

  #beginBatch(events: readonly LockedEvent[]): Span {
    return this.#tracing.start('apply batch', {
      kind: 'consumer',
      links: events.flatMap(({ traceParent }) => traceParent ?? []),
      attributes: { ...this.#queue, 'messaging.batch.message_count': events.length },
    });
  }
}
