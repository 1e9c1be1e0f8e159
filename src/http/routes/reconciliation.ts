import { z } from 'zod';
import { listItems } from '../../reconciliation/item-store.ts';
import type { Item } from '../../reconciliation/run.ts';
import { latestUntil, startRun } from '../../reconciliation/start.ts';
import { getRun, listRuns } from '../../reconciliation/store.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { moment, pageOf, paging, plainIdParams, text } from '../../views/fields.ts';
import { BEYOND_REACH, cursor, isInReach, pageOfItems, pageResponse, pairCursor } from '../../views/pages.ts';
import { itemResponse, itemShape, runResponse, runShape } from '../../views/reconciliation.ts';
import { pairOf, refuseCursor } from '../kit/cursors.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';

const tag = 'Reconciliation';
const NO_RUN = 'There is no such reconciliation.';

const list = merchantRoute({
  method: 'get',
  path: '/reconciliation',
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'List comparisons with your providers, newest first',
  description: 'Those of the daily schedule, of the API and of the command line.',
  query: z.strictObject({ ...paging, cursor }).refine(isInReach, BEYOND_REACH),
  response: { description: 'A page of comparisons.', schema: pageOfItems(runShape, EXAMPLE.runId) },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, query, headers }) {
    const after = query.cursor ?? null;
    const wanted = { after, ...pageOf(query, headers) };
    const found = await readers.read(merchantId, async (db) => {
      const page = await listRuns(db, merchantId, wanted);
      if (page.length === 0 && after !== null && (await getRun(db, { merchantId, runId: after })) === null)
        refuseCursor();
      return page;
    });
    return pageResponse(found, wanted.pageSize, { show: runResponse, cursorOf: (one) => one.runId });
  },
});

const start = merchantRoute({
  method: 'post',
  path: '/reconciliation',
  scope: 'write',
  tag,
  summary: 'Compare a source with its provider',
  description:
    'What is missing is taken in as if its webhook had come. It goes on in the background. Asked again, it returns the comparison of the source that is under way, or begins another, which takes nothing in twice.',
  body: z
    .strictObject({
      source_id: text(100, 1),
      since: moment.meta({ description: 'Payments, refunds and disputes that the provider made from here on …' }),
      until: moment.optional().meta({ description: '… and before this; five minutes ago unless given.' }),
      dry_run: z.boolean().default(false).meta({ description: 'Compare only; take nothing in.' }),
    })
    .meta({ examples: [{ source_id: EXAMPLE.sourceId, since: EXAMPLE.since, until: EXAMPLE.time }] }),
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
  takesTurns: false,
  tag,
  summary: 'Retrieve a comparison',
  description: '`status` says whether it is finished, the counts how far it is.',
  params: plainIdParams('run_id'),
  response: { description: 'The comparison.', schema: runShape },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, params }) {
    // Its items are counted.
    const run = await readers.read(merchantId, (db) => getRun(db, { merchantId, runId: params.run_id }));
    return runResponse(run ?? turnAway('NOT_FOUND', NO_RUN));
  },
});

const items = merchantRoute({
  method: 'get',
  path: '/reconciliation/{run_id}/items',
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'List what a comparison found that did not simply match',
  description: 'What was missing, differs, or is unknown to the provider.',
  params: plainIdParams('run_id'),
  query: z.strictObject({ ...paging, cursor }).refine(isInReach, BEYOND_REACH),
  response: {
    description: 'A page of what was found.',
    schema: pageOfItems(itemShape, pairCursor('payment', EXAMPLE.paymentId)),
  },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, params, query, headers }) {
    const key = { merchantId, runId: params.run_id };
    const [kind, objectId] = pairOf(query.cursor) ?? ['', ''];
    const wanted = { after: { kind, objectId }, ...pageOf(query, headers) };
    const found = await readers.read(merchantId, async (db) => {
      if ((await getRun(db, key)) === null) turnAway('NOT_FOUND', NO_RUN);
      return listItems(db, key, wanted);
    });
    const cursorOf = (last: Item) => pairCursor(last.kind, last.objectId);
    return pageResponse(found, wanted.pageSize, { show: itemResponse, cursorOf });
  },
});

export const reconciliationRoutes: readonly Route[] = [list, start, retrieve, items];
