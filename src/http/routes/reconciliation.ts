import { z } from 'zod';
import { autocommit } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { listItems } from '../../reconciliation/item-store.ts';
import { type Item, OUTCOMES, type Run } from '../../reconciliation/run.ts';
import { latestUntil, startRun } from '../../reconciliation/start.ts';
import { getRun, listRuns } from '../../reconciliation/store.ts';
import { itemsOf, moment, pageOf, paging, plainIdParams, text, timestamp } from '../../views/fields.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const count = z.int().min(0);

const runShape = z
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
  .meta({ id: 'Reconciliation' });

const itemShape = z
  .strictObject({
    kind: z.enum(['payment', 'refund', 'dispute']),
    id: z.string(),
    payment_id: z.string().nullable(),
    outcome: z.enum(OUTCOMES),
    reason: z.string().nullable(),
    event_id: z.string().nullable().meta({
      description:
        'The event it was taken in as, or a parked one that says why it differs; see `GET /events/{event_id}`.',
    }),
  })
  .meta({ id: 'ReconciliationItem' });

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

export function itemResponse(item: Item): z.output<typeof itemShape> {
  return {
    kind: item.kind,
    id: item.objectId,
    payment_id: item.paymentId,
    outcome: item.outcome,
    reason: item.reason,
    event_id: item.eventId,
  };
}

const tag = 'Reconciliation';
const NO_RUN = 'There is no such reconciliation.';

const list = merchantRoute({
  method: 'get',
  path: '/reconciliation',
  scope: 'read',
  tag,
  summary: 'List comparisons with your providers, newest first',
  query: z.strictObject(paging),
  response: { description: 'A page of comparisons.', schema: itemsOf(runShape) },
  async handle({ services: { pool }, merchantId, query, headers }) {
    const runs = await listRuns(autocommit(pool), merchantId, pageOf(query, headers));
    return { items: runs.map(runResponse) };
  },
});

const start = merchantRoute({
  method: 'post',
  path: '/reconciliation',
  scope: 'write',
  tag,
  summary: 'Compare a source with its provider and heal what is missing; one that is under way is returned as it is',
  body: z.strictObject({
    source_id: text(100, 1),
    since: moment.meta({ description: 'Payments, refunds and disputes that the provider made from here on …' }),
    until: moment.optional().meta({ description: '… and before this; five minutes ago unless given.' }),
    dry_run: z.boolean().default(false).meta({ description: 'Compare only; take nothing in.' }),
  }),
  response: { description: 'The comparison; `GET` it to see how it gets on.', schema: runShape },
  errors: ['NOT_FOUND', 'CONFLICT', 'NOT_IMPLEMENTED'],
  async handle({ services, merchantId, body }) {
    const latest = latestUntil(services.clock.now());
    const until = body.until === undefined || body.until > latest ? latest : body.until;
    const { source_id: sourceId, since, dry_run: isDryRun } = body;
    const run = await startRun(services, { merchantId, sourceId, since, until, requestedBy: 'api', isDryRun });
    await services.boss.send('reconcile-payments', {}, { singletonKey: 'api' });
    return runResponse(run);
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: '/reconciliation/{run_id}',
  scope: 'read',
  tag,
  summary: 'Retrieve a comparison',
  params: plainIdParams('run_id'),
  response: { description: 'The comparison.', schema: runShape },
  async handle({ services: { pool }, merchantId, params }) {
    const run = await getRun(autocommit(pool), { merchantId, runId: params.run_id });
    return runResponse(run ?? refuse('NOT_FOUND', NO_RUN));
  },
});

const items = merchantRoute({
  method: 'get',
  path: '/reconciliation/{run_id}/items',
  scope: 'read',
  tag,
  summary: 'List what a comparison found that did not simply match',
  params: plainIdParams('run_id'),
  query: z.strictObject(paging),
  response: { description: 'A page of what was found.', schema: itemsOf(itemShape) },
  async handle({ services: { pool }, merchantId, params, query, headers }) {
    const key = { merchantId, runId: params.run_id };
    if ((await getRun(autocommit(pool), key)) === null) refuse('NOT_FOUND', NO_RUN);
    const found = await listItems(autocommit(pool), key, pageOf(query, headers));
    return { items: found.map(itemResponse) };
  },
});

export const reconciliationRoutes: readonly Route[] = [list, start, retrieve, items];
