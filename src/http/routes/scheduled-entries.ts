import { z } from 'zod';
import { requireCustomer } from '../../customers/store.ts';
import { autocommit } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { MAX_OFFSET } from '../../ledger/history.ts';
import { getScheduledEntry, listScheduledEntries } from '../../schedules/entry-store.ts';
import { cancelScheduledEntry, scheduleEntry } from '../../schedules/schedule-entry.ts';
import { EXAMPLE_SCHEDULED_ENTRY } from '../../views/examples.ts';
import { currency, customerParams, idParams, itemsOf, moment, pageOf, paging, text } from '../../views/fields.ts';
import { publicRefusal } from '../../views/refusals.ts';
import {
  onShortfall,
  scheduledEntryResponse,
  scheduledEntryShape,
  scheduledStatus,
  toScheduled,
} from '../../views/scheduled-entry.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';
import { IDEMPOTENCY_HEADER, keyOfRequest, postingFields, termsFields } from './posting.ts';

const tag = 'Schedules';
const path = '/customers/{customer_id}/wallets/scheduled-entries';
const onePath = `${path}/{scheduled_entry_id}`;
const entryParams = customerParams.extend(idParams('scheduled_entry_id').shape);

const KEY_EXISTS =
  'This idempotency key was used before, for the same request: "scheduled_entry" is what it scheduled.';
const { amount, entry_type, reason, reference_object_id, idempotency_key, post_at } = EXAMPLE_SCHEDULED_ENTRY;
const EXAMPLE_OPEN = {
  ...EXAMPLE_SCHEDULED_ENTRY,
  ...{ status: 'scheduled', next_attempt_at: post_at, entry_id: null, ended_at: null },
};

const create = merchantRoute({
  method: 'post',
  path,
  scope: 'write',
  tag,
  summary: 'Credit or debit a wallet at a time to come',
  description:
    'The entry is written once, at `post_at` or soon after, as a request would then be: a debit of more than is available is skipped and told of (`scheduled_entry.skipped`), or with `on_shortfall` retry tried again every day for a week. What was missed while no worker ran is made up for. A customer has 1000 at most that wait for their time.',
  params: customerParams,
  headers: IDEMPOTENCY_HEADER,
  body: z
    .strictObject({
      ...postingFields,
      ...termsFields,
      idempotency_key: text(255, 1).nullable().optional().meta({
        description: 'Wanted, here or in the header. The same key never schedules a second entry for this customer.',
      }),
      post_at: moment.meta({ description: 'A time to come, 400 days ahead at most.' }),
      on_shortfall: onShortfall.optional().meta({ description: 'skip unless given.' }),
    })
    .meta({
      examples: [
        {
          ...{ amount, currency: EXAMPLE_SCHEDULED_ENTRY.currency, entry_type, post_at, on_shortfall: 'retry' },
          ...{ reason, reference_object_id, idempotency_key },
        },
      ],
    }),
  response: { description: 'The scheduled entry.', schema: scheduledEntryShape, example: EXAMPLE_OPEN },
  errors: [
    'CONFLICT',
    'CUSTOMER_NOT_FOUND',
    'IDEMPOTENCY_KEY_EXISTS',
    'IDEMPOTENCY_KEY_REUSED',
    'INVALID_IDEMPOTENCY_KEY',
    'UNSTABLE_KEY',
    'UNSUPPORTED_CURRENCY',
    'MAXIMUM_KEYS_REACHED',
    'EXPIRY_IN_THE_PAST',
    'PAID_CREDIT_CANNOT_EXPIRE',
  ],
  async handle({ services: { pool, settings, clock }, merchantId, keyId, params, body, headers, guard }) {
    const owner = { merchantId, customerId: params.customer_id, actor: `key:${keyId}` };
    const key = keyOfRequest(body.idempotency_key, headers);
    guard.checkKey(key, params.customer_id);
    const request = toScheduled(owner, body, key);
    const { kind, entry } = await scheduleEntry(autocommit(pool), request, { ...settings, now: clock.now() });
    if (kind === 'scheduled') return scheduledEntryResponse(entry);
    return turnAway('IDEMPOTENCY_KEY_EXISTS', KEY_EXISTS, { scheduled_entry: scheduledEntryResponse(entry) });
  },
});

const list = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: "List a customer's scheduled entries, newest first",
  description: 'Those first that were made last. Pages by `before_id` skip nothing while more are made.',
  params: customerParams,
  query: z
    .strictObject({
      ...paging,
      currency: currency.optional(),
      status: scheduledStatus.optional(),
      before_id: text(300, 1)
        .optional()
        .meta({
          description: 'Only those that were made before the one with this `scheduled_entry_id`.',
          examples: [EXAMPLE_SCHEDULED_ENTRY.scheduled_entry_id],
        }),
    })
    .refine((query) => (query.page_number ?? 0) * query.page_size <= MAX_OFFSET, {
      path: ['page_number'],
      error: `reaches beyond ${MAX_OFFSET} scheduled entries; use before_id`,
    }),
  response: { description: 'A page of scheduled entries.', schema: itemsOf(scheduledEntryShape) },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, params: { customer_id: customerId }, query, headers }) {
    const filter = {
      currency: query.currency ?? null,
      state: query.status ?? null,
      beforeId: query.before_id ?? null,
    };
    const asked = { ...filter, ...pageOf(query, headers) };
    const entries = await readers.read(merchantId, async (db) => {
      const page = await listScheduledEntries(db, { merchantId, customerId }, asked);
      if (page.length === 0) await requireCustomer(db, merchantId, customerId);
      return page;
    });
    return { items: entries.map(scheduledEntryResponse) };
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: onePath,
  scope: 'read',
  tag,
  summary: 'Retrieve one scheduled entry',
  description: 'With the entry that it posted, or why it was skipped.',
  params: entryParams,
  response: { description: 'The scheduled entry.', schema: scheduledEntryShape },
  errors: ['SCHEDULED_ENTRY_NOT_FOUND'],
  async handle({ services, merchantId, params }) {
    const key = { merchantId, customerId: params.customer_id, scheduledEntryId: params.scheduled_entry_id };
    const entry = await getScheduledEntry(autocommit(services.pool), key);
    return scheduledEntryResponse(entry ?? refuse({ code: 'SCHEDULED_ENTRY_NOT_FOUND' }));
  },
});

const cancel = merchantRoute({
  method: 'post',
  path: `${onePath}/cancel`,
  scope: 'write',
  tag,
  summary: 'Cancel a scheduled entry',
  description: 'Until it is posted. Canceled twice is canceled once.',
  params: entryParams,
  response: {
    description: 'The scheduled entry.',
    schema: scheduledEntryShape,
    example: { ...EXAMPLE_SCHEDULED_ENTRY, status: 'canceled', entry_id: null },
  },
  errors: ['SCHEDULED_ENTRY_NOT_FOUND', 'SCHEDULED_ENTRY_NOT_OPEN'],
  async handle({ services: { pool, clock }, merchantId, params }) {
    const key = { merchantId, customerId: params.customer_id, scheduledEntryId: params.scheduled_entry_id };
    const { kind, entry } = await cancelScheduledEntry(autocommit(pool), key, clock.now());
    if (kind === 'canceled') return scheduledEntryResponse(entry);
    const { code, message } = publicRefusal({ code: 'SCHEDULED_ENTRY_NOT_OPEN', state: entry.state });
    return turnAway(code, message, { scheduled_entry: scheduledEntryResponse(entry) });
  },
});

/** They must come before the routes of `wallets.ts`, whose `{currency}` would match these paths too. */
export const scheduledEntryRoutes: readonly Route[] = [create, list, cancel, retrieve];
