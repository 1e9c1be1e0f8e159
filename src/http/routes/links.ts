import { z } from 'zod';
import { type CustomerLink, isLinked, linksOfCustomer, removeLink } from '../../customers/links.ts';
import { requireCustomer } from '../../customers/store.ts';
import { autocommit } from '../../db/transaction.ts';
import { linkCustomer } from '../../merchants/customer-links.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { customerParams, pageOf, paging } from '../../views/fields.ts';
import { linkNames, linkResponse, linkShape } from '../../views/link.ts';
import { BEYOND_REACH, cursor, isInReach, pageOfItems, pageResponse, pairCursor } from '../../views/pages.ts';
import { pairOf, refuseCursor } from '../kit/cursors.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const tag = 'Customers';
const path = '/customers/{customer_id}/links';

const list = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: "List which of the providers' customers this customer is",
  description:
    'A payment that names nobody is credited to whom the customer at its provider is linked with. `cause` says why each is.',
  params: customerParams,
  query: z.strictObject({ ...paging, cursor }).refine(isInReach, BEYOND_REACH),
  response: {
    description: 'A page of links, oldest first.',
    schema: pageOfItems(linkShape, pairCursor(EXAMPLE.sourceId, EXAMPLE.providerCustomerId)),
  },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, params: { customer_id: customerId }, query, headers }) {
    const pair = pairOf(query.cursor);
    const after = pair === null ? null : { sourceId: pair[0], providerCustomerId: pair[1] };
    const wanted = { after, ...pageOf(query, headers) };
    const found = await readers.read(merchantId, async (db) => {
      const page = await linksOfCustomer(db, { merchantId, customerId, ...wanted });
      if (page.length === 0) {
        await requireCustomer(db, merchantId, customerId);
        if (after !== null && !(await isLinked(db, { merchantId, customerId, ...after }))) refuseCursor();
      }
      return page;
    });
    const cursorOf = (last: CustomerLink) => pairCursor(last.sourceId, last.providerCustomerId);
    return pageResponse(found, wanted.pageSize, { show: linkResponse, cursorOf });
  },
});

const set = merchantRoute({
  method: 'put',
  path,
  scope: 'write',
  tag,
  summary: "Say that one of a provider's customers is this customer",
  description:
    'Also where another customer was linked so before. It holds for payments from now on, until a person changes it; what was paid before stays where it is.',
  params: customerParams,
  body: z.strictObject(linkNames).meta({
    examples: [{ source_id: EXAMPLE.sourceId, provider_customer_id: EXAMPLE.providerCustomerId }],
  }),
  response: {
    description: 'The link.',
    schema: linkShape,
    example: {
      source_id: EXAMPLE.sourceId,
      provider_customer_id: EXAMPLE.providerCustomerId,
      cause: 'operator',
      payment_id: null,
      created_at: EXAMPLE.time,
    },
  },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services: { pool, sources, clock }, merchantId, params, body }) {
    const link = {
      merchantId,
      customerId: params.customer_id,
      sourceId: body.source_id,
      providerCustomerId: body.provider_customer_id,
    };
    return linkResponse(await linkCustomer({ db: autocommit(pool), sources, now: clock.now() }, link));
  },
});

const remove = merchantRoute({
  method: 'delete',
  path,
  scope: 'write',
  tag,
  summary: "Say that one of a provider's customers is not this customer",
  description:
    'Payments from now on that name nobody are as those of a customer who was never heard of: by the `customer_link_rule` of the source.',
  params: customerParams,
  query: z.strictObject(linkNames),
  response: { status: 204, description: 'The link is gone.', schema: z.null() },
  errors: ['CUSTOMER_NOT_FOUND'],
  async handle({ services: { pool }, merchantId, params: { customer_id: customerId }, query }) {
    const db = autocommit(pool);
    await requireCustomer(db, merchantId, customerId);
    await removeLink(db, {
      merchantId,
      customerId,
      sourceId: query.source_id,
      providerCustomerId: query.provider_customer_id,
    });
    return null;
  },
});

export const linkRoutes: readonly Route[] = [list, set, remove];
