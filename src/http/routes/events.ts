import { z } from 'zod';
import { autocommit } from '../../db/transaction.ts';
import { dismissEvent, resolveEvent } from '../../inbox/dismiss.ts';
import { getEvent, listEvents } from '../../inbox/events.ts';
import { findEvent, replayOnRequest } from '../../inbox/manual.ts';
import { EXAMPLE_EVENT, EXAMPLE_PARKED, eventResponse, eventShape, eventStatus } from '../../views/event.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { minorUnits, pageOf, paging, plainIdParams, text } from '../../views/fields.ts';
import { BEYOND_REACH, cursor, isInReach, pageOfItems, pageResponse } from '../../views/pages.ts';
import { refuseCursor } from '../kit/cursors.ts';
import { refuseDodoSdk } from '../kit/dodo.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const tag = 'Provider events';
const handledAmount = minorUnits.min(0).meta({
  description: 'What was credited or debited by hand, in minor units; 0: nothing was owed.',
});
const EXAMPLE_NOTE = 'Credited by hand, order 77';
/** For Dodo's SDK, which has usage events at the same paths and would misread our answer. Completes "this route is …". */
const FOR_DODO_SDK = 'the list of what payment providers sent to Chokin';

const list = merchantRoute({
  method: 'get',
  path: '/events',
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'List the events that providers sent, newest first',
  description:
    "`?status=parked` lists those that want attention: `reason` says why, `advice` what to do. Dodo's SDKs are answered 404 `NOT_SERVED_HERE`: their events of usage are something else.",
  query: z.strictObject({ ...paging, cursor, status: eventStatus.optional() }).refine(isInReach, BEYOND_REACH),
  response: {
    description: 'A page of events.',
    schema: pageOfItems(eventShape, EXAMPLE.eventId),
    example: { items: [EXAMPLE_PARKED] },
  },
  errors: ['NOT_SERVED_HERE', 'QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, query, headers }) {
    refuseDodoSdk(headers, FOR_DODO_SDK);
    const after = query.cursor ?? null;
    const wanted = { state: query.status ?? null, after, ...pageOf(query, headers) };
    const found = await readers.read(merchantId, async (db) => {
      const page = await listEvents(db, merchantId, wanted);
      if (page.length === 0 && after !== null && (await getEvent(db, merchantId, after)) === null) refuseCursor();
      return page;
    });
    return pageResponse(found, wanted.pageSize, { show: eventResponse, cursorOf: (one) => one.eventId });
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: '/events/{event_id}',
  scope: 'read',
  tag,
  summary: 'Retrieve an event and what became of it',
  description: "By Chokin's id, not the provider's. Dodo's SDKs are answered 404 `NOT_SERVED_HERE`.",
  params: plainIdParams('event_id'),
  response: { description: 'The event.', schema: eventShape },
  errors: ['NOT_SERVED_HERE'],
  async handle({ services: { pool }, merchantId, params, headers }) {
    refuseDodoSdk(headers, FOR_DODO_SDK);
    return eventResponse(await findEvent(autocommit(pool), merchantId, params.event_id));
  },
});

const replay = merchantRoute({
  method: 'post',
  path: '/events/{event_id}/replay',
  scope: 'write',
  tag,
  summary: 'Apply a parked or dismissed event again',
  description:
    'Once the cause is mended. Asked again it credits nothing twice, since what was written before is taken into account; so it needs no `Idempotency-Key`.',
  params: plainIdParams('event_id'),
  body: z
    .strictObject({
      customer_id: text(300, 1).nullable().optional().meta({
        description: 'Whose payment it is, where the event itself does not say.',
      }),
      link: z.boolean({ error: 'wants true or false' }).optional().meta({
        description:
          "Whether the payments after it are that customer's too: links it with the provider's customer. False unless given.",
      }),
      reopen: z.boolean({ error: 'wants true or false' }).optional().meta({
        description:
          'Needed for an event that was dismissed: what was handled by hand stays, and the event posts beside it.',
      }),
      accept_amount: z.boolean({ error: 'wants true or false' }).optional().meta({
        description:
          'For one parked as `checkout_mismatch`: the checkout is completed by what was paid, though another amount was agreed. It holds for later replays too.',
      }),
    })
    .refine(({ customer_id, link }) => link !== true || customer_id != null, {
      error: 'wants customer_id, too',
      path: ['link'],
    })
    .meta({ examples: [{ customer_id: EXAMPLE.customerId, link: true }] }),
  bodyOptional: true,
  response: {
    description: 'The event, waiting to be applied.',
    schema: eventShape,
    example: {
      ...EXAMPLE_EVENT,
      status: 'pending',
      settled_at: null,
      assigned_customer_id: EXAMPLE.customerId,
      replays: 1,
    },
  },
  errors: ['CUSTOMER_NOT_FOUND', 'EVENT_BODY_REMOVED', 'CONFLICT'],
  async handle({ services: { pool, boss }, merchantId, params, body }) {
    const { customer_id: customerId = null, link = false, reopen: reopens = false } = body;
    const acceptsAmount = body.accept_amount ?? false;
    const wanted = { merchantId, eventId: params.event_id, customerId, link, reopens, acceptsAmount };
    return eventResponse(await replayOnRequest(pool, boss, wanted));
  },
});

const dismiss = merchantRoute({
  method: 'post',
  path: '/events/{event_id}/dismiss',
  scope: 'write',
  tag,
  summary: 'Set a parked event aside',
  description:
    'For one that you have handled by hand. What it tells is closed: it never posts, whatever comes later, and what else comes of its payment posts only its own share. A replay with `reopen` brings it back.',
  params: plainIdParams('event_id'),
  body: z
    .strictObject({
      note: text(500).nullable().optional().meta({ description: 'What was done; it is shown in `detail`.' }),
      amount: handledAmount.optional(),
    })
    .meta({ examples: [{ note: EXAMPLE_NOTE, amount: 500 }] }),
  bodyOptional: true,
  response: {
    description: 'The event, dismissed.',
    schema: eventShape,
    example: { ...EXAMPLE_EVENT, status: 'dismissed', detail: EXAMPLE_NOTE },
  },
  errors: ['CONFLICT'],
  async handle({ services, merchantId, params, body }) {
    const { note = null, amount: amountMinor = null } = body;
    return eventResponse(
      await dismissEvent(services, { merchantId, eventId: params.event_id, note, amountMinor, entryId: null }),
    );
  },
});

const resolve = merchantRoute({
  method: 'post',
  path: '/events/{event_id}/resolve',
  scope: 'write',
  tag,
  summary: 'Say how an event was handled by hand',
  description:
    'Dismisses a parked event, or completes one that was dismissed, with the entry that did what the event would have done, or the amount. The correction is shown with the payment.',
  params: plainIdParams('event_id'),
  body: z
    .strictObject({
      entry_id: text(400, 1)
        .optional()
        .meta({ description: 'The entry that did it; of the same customer and currency.' }),
      amount: handledAmount.optional(),
      note: text(500, 1).meta({ description: 'What was done; it is shown in `detail`.' }),
    })
    .refine(({ entry_id, amount }) => (entry_id === undefined) !== (amount === undefined), {
      error: 'wants either entry_id or amount',
    })
    .meta({ examples: [{ entry_id: EXAMPLE.entryId, note: EXAMPLE_NOTE }] }),
  response: {
    description: 'The event, dismissed.',
    schema: eventShape,
    example: { ...EXAMPLE_EVENT, status: 'dismissed', detail: EXAMPLE_NOTE },
  },
  errors: ['EVENT_BODY_REMOVED', 'CONFLICT'],
  async handle({ services, merchantId, params, body }) {
    const { note, amount: amountMinor = null, entry_id: entryId = null } = body;
    return eventResponse(
      await resolveEvent(services, { merchantId, eventId: params.event_id, note, amountMinor, entryId }),
    );
  },
});

export const eventRoutes: readonly Route[] = [list, retrieve, replay, dismiss, resolve];
