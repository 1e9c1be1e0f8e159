import { z } from 'zod';
import {
  type Customer,
  createCustomers,
  getCustomer,
  listCustomers,
  refuseUnknownCustomer,
  updateCustomer,
} from '../../customers/store.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import { invariant } from '../../errors.ts';
import {
  customerParams,
  itemsOf,
  metadata,
  moment,
  pageOf,
  paging,
  storedMetadata,
  text,
  timestamp,
} from '../../views/fields.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const customer = z
  .strictObject({
    customer_id: z.string(),
    business_id: z.string(),
    name: z.string(),
    email: z.string().meta({ description: 'Empty where a payment made the customer and did not say.' }),
    phone_number: z.string().nullable(),
    metadata: storedMetadata,
    created_at: timestamp,
  })
  .meta({ id: 'Customer' });

function toResponse(one: Customer): z.output<typeof customer> {
  return {
    customer_id: one.customerId,
    business_id: one.merchantId,
    name: one.name,
    email: one.email,
    phone_number: one.phoneNumber,
    metadata: { ...one.metadata },
    created_at: one.createdAt.toISOString(),
  };
}

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
  summary: 'Create a customer, with an empty wallet in each currency',
  body: z.strictObject({
    email,
    name,
    phone_number: phoneNumber.nullable().optional(),
    metadata: metadata.nullable().optional(),
  }),
  response: { description: 'The customer.', schema: customer },
  errors: ['MAXIMUM_KEYS_REACHED'],
  async handle({ services: { pool, settings, clock, onPosted }, merchantId, body }) {
    const input = {
      email: body.email,
      name: body.name,
      phoneNumber: body.phone_number ?? null,
      metadata: body.metadata ?? {},
    };
    const made = await transaction(pool, async (tx) => {
      const [customerId] = await createCustomers(tx, merchantId, [input], settings.currencies, clock.now());
      invariant(customerId !== undefined, 'a customer was not made');
      return getCustomer(tx, merchantId, customerId);
    });
    invariant(made !== null, 'a customer was made and is not there');
    onPosted();
    return toResponse(made);
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: '/customers/{customer_id}',
  scope: 'read',
  tag,
  summary: 'Retrieve a customer',
  params: customerParams,
  response: { description: 'The customer.', schema: customer },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services: { pool }, merchantId, params }) {
    const found = await getCustomer(autocommit(pool), merchantId, params.customer_id);
    return toResponse(found ?? refuseUnknownCustomer(params.customer_id));
  },
});

const update = merchantRoute({
  method: 'patch',
  path: '/customers/{customer_id}',
  scope: 'write',
  tag,
  summary: 'Change a customer; what is left out or null stays, except that null removes the phone number',
  params: customerParams,
  body: z.strictObject({
    email: email.nullable().optional(),
    name: name.nullable().optional(),
    phone_number: phoneNumber.nullable().optional(),
    metadata: metadata.nullable().optional().meta({ description: 'Replaces all of the metadata.' }),
  }),
  response: { description: 'The customer as it is now.', schema: customer },
  errors: ['CUSTOMER_NOT_FOUND', 'MAXIMUM_KEYS_REACHED'],
  async handle({ services: { pool }, merchantId, params, body }) {
    const changed = await updateCustomer(autocommit(pool), merchantId, params.customer_id, {
      email: body.email ?? undefined,
      name: body.name ?? undefined,
      phoneNumber: body.phone_number,
      metadata: body.metadata ?? undefined,
    });
    return toResponse(changed ?? refuseUnknownCustomer(params.customer_id));
  },
});

const list = merchantRoute({
  method: 'get',
  path: '/customers',
  scope: 'read',
  tag,
  summary: 'List customers, newest first',
  query: z.strictObject({
    ...paging,
    email: text(320).optional().meta({ description: 'The whole address, in any case.' }),
    name: text(500).optional().meta({ description: 'Part of the name, in any case.' }),
    created_at_gte: moment.optional(),
    created_at_lte: moment.optional(),
  }),
  response: { description: 'A page of customers.', schema: itemsOf(customer) },
  async handle({ services: { pool }, merchantId, query, headers }) {
    const found = await listCustomers(autocommit(pool), merchantId, {
      email: query.email ?? null,
      name: query.name ?? null,
      createdFrom: query.created_at_gte ?? null,
      createdTo: query.created_at_lte ?? null,
      ...pageOf(query, headers),
    });
    return { items: found.map(toResponse) };
  },
});

export { toResponse as customerResponse };

export const customerRoutes: readonly Route[] = [create, list, retrieve, update];
