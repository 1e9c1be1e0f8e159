import { z } from 'zod';
import { COMPARISON_RESULTS, type Item, type Run } from '../reconciliation/run.ts';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

const count = z.int().min(0);

export const runShape = z
  .strictObject({
    run_id: z.string(),
    business_id: z.string(),
    source_id: z.string(),
    provider: z.string(),
    since: timestamp,
    until: timestamp,
    requested_by: z.enum(['schedule', 'api', 'cli']),
    dry_run: z.boolean().meta({ description: 'True: it only compares; what is missing stays `missing`.' }),
    status: z.enum(['running', 'finished', 'failed']),
    phase: z.enum(['payment', 'refund', 'dispute', 'open', 'unlisted', 'settling']).meta({
      description:
        'What it lists at the provider; then it asks again for what is unfinished here, and for ours that were not listed; then it waits until what was missing is applied.',
    }),
    listed: count.meta({ description: 'How many objects were compared.' }),
    matched: count,
    missing: count.meta({ description: 'Taken in, and not applied yet; or, in a dry run, what would be.' }),
    healed: count.meta({ description: 'Were missing, and are applied now.' }),
    differing: count.meta({ description: 'Want a person; the items say why.' }),
    unknown: count.meta({ description: 'Payments of ours that the provider does not know.' }),
    problem: z.string().nullable().meta({ description: 'Why it failed or does not get on.' }),
    created_at: timestamp,
    finished_at: timestamp.nullable(),
  })
  .meta({
    id: 'Reconciliation',
    examples: [
      {
        run_id: EXAMPLE.runId,
        business_id: EXAMPLE.merchantId,
        source_id: EXAMPLE.sourceId,
        provider: 'stripe',
        since: EXAMPLE.since,
        until: EXAMPLE.time,
        requested_by: 'api',
        dry_run: false,
        status: 'finished',
        phase: 'settling',
        listed: 120,
        matched: 119,
        missing: 0,
        healed: 1,
        differing: 0,
        unknown: 0,
        problem: null,
        created_at: EXAMPLE.time,
        finished_at: EXAMPLE.later,
      },
    ],
  });

export const itemShape = z
  .strictObject({
    kind: z.enum(['payment', 'refund', 'dispute']),
    object_id: z.string().meta({ description: "The provider's id of it." }),
    id: z.string().meta({ description: 'The same as `object_id`, by its older name.' }),
    payment_id: z.string().nullable(),
    outcome: z.enum(COMPARISON_RESULTS),
    reason: z.string().nullable(),
    event_id: z.string().nullable().meta({
      description:
        'The event it was taken in as, or a parked one that says why it differs; see `GET /events/{event_id}`.',
    }),
  })
  .meta({
    id: 'ReconciliationItem',
    examples: [
      {
        kind: 'payment',
        object_id: EXAMPLE.paymentId,
        id: EXAMPLE.paymentId,
        payment_id: EXAMPLE.paymentId,
        outcome: 'healed',
        reason: null,
        event_id: EXAMPLE.eventId,
      },
    ],
  });

/** A run of a reconciliation as the API shows it. */
export function runResponse(run: Run): z.output<typeof runShape> {
  return {
    run_id: run.runId,
    business_id: run.merchantId,
    source_id: run.sourceId,
    provider: run.provider,
    since: run.since.toISOString(),
    until: run.until.toISOString(),
    requested_by: run.requestedBy,
    dry_run: run.isDryRun,
    status: run.state,
    phase: run.phase,
    listed: run.listed,
    matched: run.matched,
    ...run.outcomes,
    problem: run.problem,
    created_at: run.createdAt.toISOString(),
    finished_at: run.finishedAt?.toISOString() ?? null,
  };
}

/** An item of a reconciliation as the API shows it. */
export function itemResponse(item: Item): z.output<typeof itemShape> {
  return {
    kind: item.kind,
    object_id: item.objectId,
    id: item.objectId,
    payment_id: item.paymentId,
    outcome: item.outcome,
    reason: item.reason,
    event_id: item.eventId,
  };
}
