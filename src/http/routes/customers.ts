import { z } from 'zod';
import { listCustomers } from '../../customers/search.ts';
import { createCustomers, getCustomer, refuseUnknownCustomer, updateCustomer } from '../../customers/store.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import { invariant } from '../../errors.ts';
import { anonymiseCustomer } from '../../retention/anonymise.ts';
import { customerResponse, customerShape, EXAMPLE_PERSON } from '../../views/customer.ts';
import { erasureResponse, erasureShape } from '../../views/erasure.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { customerParams, metadata, moment, pageOf, paging, text } from '../../views/fields.ts';
import { BEYOND_REACH, cursor, isInReach, pageOfItems, pageResponse } from '../../views/pages.ts';
import { refuseCursor } from '../kit/cursors.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const email = z
  .email({ error: 'wants an e-mail address such as ada@example.com' })
  .max(320, { error: 'wants 320 characters or fewer' });
const name = text(500, 1);
const phoneNumber = text(50, 1);
const tag = 'Customers';

const create = merchantRoute({
  method: 'post',
  path: '/customers',
  scope: 'write',
  tag,
  summary: 'Create a customer',
  description: 'With an empty wallet in each currency of the service. Two customers may have the same e-mail address.',
  body: z
    .strictObject({
      email,
      name,
      phone_number: phoneNumber.nullable().optional(),
      metadata: metadata.nullable().optional(),
    })
    .meta({ examples: [EXAMPLE_PERSON] }),
  response: { description: 'The customer.', schema: customerShape },
  errors: ['MAXIMUM_KEYS_REACHED'],
  async handle({ services: { pool, settings, clock, onPosted }, merchantId, body }) {
    const input = {
      email: body.email,
      name: body.name,
      phoneNumber: body.phone_number ?? null,
      metadata: body.metadata ?? {},
    };
    const opening = { currencies: settings.currencies, now: clock.now() };
    const made = await transaction(pool, async (tx) => {
      const [customerId] = await createCustomers(tx, { merchantId, inputs: [input] }, opening);
      invariant(customerId !== undefined, 'a customer was not made');
      return getCustomer(tx, merchantId, customerId);
    });
    invariant(made !== null, 'a customer was made and is not there');
    onPosted();
    return customerResponse(made);
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: '/customers/{customer_id}',
  scope: 'read',
  tag,
  summary: 'Retrieve a customer',
  description: "By Chokin's own id. To find one by e-mail or name, list customers.",
  params: customerParams,
  response: { description: 'The customer.', schema: customerShape },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services: { pool }, merchantId, params }) {
    const found = await getCustomer(autocommit(pool), merchantId, params.customer_id);
    return customerResponse(found ?? refuseUnknownCustomer(params.customer_id));
  },
});

const update = merchantRoute({
  method: 'patch',
  path: '/customers/{customer_id}',
  scope: 'write',
  tag,
  summary: 'Change a customer',
  description: 'What is left out or null stays, except that null removes the phone number.',
  params: customerParams,
  body: z
    .strictObject({
      email: email.nullable().optional(),
      name: name.nullable().optional(),
      phone_number: phoneNumber.nullable().optional(),
      metadata: metadata.nullable().optional().meta({ description: 'Replaces all of the metadata.' }),
    })
    .meta({ examples: [{ name: 'Ada King', metadata: { plan: 'team' } }] }),
  response: { description: 'The customer as it is now.', schema: customerShape },
  errors: ['CUSTOMER_NOT_FOUND', 'MAXIMUM_KEYS_REACHED'],
  async handle({ services: { pool }, merchantId, params, body }) {
    const key = { merchantId, customerId: params.customer_id };
    const changed = await updateCustomer(autocommit(pool), key, {
      email: body.email ?? undefined,
      name: body.name ?? undefined,
      phoneNumber: body.phone_number,
      metadata: body.metadata ?? undefined,
    });
    return customerResponse(changed ?? refuseUnknownCustomer(params.customer_id));
  },
});

const anonymise = merchantRoute({
  method: 'post',
  path: '/customers/{customer_id}/anonymise',
  scope: 'write',
  tag,
  summary: "Erase a customer's personal data",
  description:
    "Name, e-mail, phone and metadata at once, the links with providers' customers, the bodies of the customer's events and the messages about the wallets. Wallets, entries and payments stay, and what is still paid is credited. What is in dispute, waits for a person or is still to be delivered is erased once that has ended, without being asked again. Asked again, it erases what has come since.",
  params: customerParams,
  body: z
    .strictObject({
      reasons: z.boolean({ error: 'wants true or false' }).default(false).meta({
        description:
          'True: the reasons and metadata of entries too. Their hashes stay, so that the history can still be proved.',
      }),
    })
    .meta({ examples: [{ reasons: true }] }),
  bodyOptional: true,
  response: { description: 'How far it has come.', schema: erasureShape },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services: { pool, clock, boss }, merchantId, params, body }) {
    const request = { merchantId, customerId: params.customer_id, withTexts: body.reasons ?? false };
    const erasure = await anonymiseCustomer({ pool, clock }, request);
    // A worker goes on with what is left now.
    if (erasure.finishedAt === null) await boss.send('retain', {});
    return erasureResponse(erasure);
  },
});

const list = merchantRoute({
  method: 'get',
  path: '/customers',
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'List customers, newest first',
  description: 'Filters that are given hold all at once.',
  query: z
    .strictObject({
      ...paging,
      cursor,
      email: text(320)
        .optional()
        .meta({ description: 'The whole address, in any case.', examples: ['ada@example.com'] }),
      name: text(500)
        .optional()
        .meta({
          description:
            'Part of the name, in any case. Without three letters or digits in a row, or where the database has no `pg_trgm`, it is the beginning of the name.',
          examples: ['lovelace'],
        }),
      created_at_gte: moment.optional(),
      created_at_lte: moment.optional(),
    })
    .refine(isInReach, BEYOND_REACH),
  response: { description: 'A page of customers.', schema: pageOfItems(customerShape, EXAMPLE.customerId) },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, query, headers }) {
    const after = query.cursor ?? null;
    const wanted = {
      email: query.email ?? null,
      name: query.name ?? null,
      createdFrom: query.created_at_gte ?? null,
      createdTo: query.created_at_lte ?? null,
      after,
      ...pageOf(query, headers),
    };
    const found = await readers.read(merchantId, async (db) => {
      const page = await listCustomers(db, merchantId, wanted);
      if (page.length === 0 && after !== null && (await getCustomer(db, merchantId, after)) === null) refuseCursor();
      return page;
    });
    return pageResponse(found, wanted.pageSize, { show: customerResponse, cursorOf: (one) => one.customerId });
  },
});

export const customerRoutes: readonly Route[] = [create, list, retrieve, update, anonymise];
