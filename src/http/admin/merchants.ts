import { z } from 'zod';
import { autocommit } from '../../db/transaction.ts';
import { createMerchant, findMerchant, suspendMerchant } from '../../merchants/administration.ts';
import { listMerchants, type Merchant } from '../../merchants/merchant-store.ts';
import { itemsOf, pageOf, paging, text, timestamp } from '../../views/fields.ts';
import { adminRoute, type Route } from '../kit/route.ts';

const merchantId = z
  .string({ error: 'wants text' })
  .regex(/^[A-Za-z0-9._-]{1,64}$/, { error: 'wants letters, digits, dots, dashes and underscores, 64 at most' });
const mode = z.enum(['test', 'live'], { error: 'wants test or live' });

/** Whose something is, in every address of the operator's. */
export const merchantParams = z.strictObject({ merchant_id: merchantId });

const merchantShape = z
  .strictObject({
    merchant_id: z.string(),
    name: z.string(),
    mode,
    suspended_at: timestamp.nullable().meta({ description: 'Null unless its keys are refused for now.' }),
    created_at: timestamp,
  })
  .meta({ id: 'Merchant' });

export function merchantResponse(one: Merchant): z.output<typeof merchantShape> {
  return {
    merchant_id: one.merchantId,
    name: one.name,
    mode: one.mode,
    suspended_at: one.suspendedAt?.toISOString() ?? null,
    created_at: one.createdAt.toISOString(),
  };
}

const tag = 'Administration';
const path = '/admin/merchants';
const response = { description: 'The merchant.', schema: merchantShape };

const create = adminRoute({
  method: 'post',
  path,
  tag,
  summary: 'Create a merchant; its mode is for good, since its wallets hold play money or real money',
  body: z.strictObject({
    merchant_id: merchantId.nullish().meta({ description: 'An id of your own; a new one unless given.' }),
    name: text(200, 1),
    mode,
  }),
  response,
  errors: ['CONFLICT'],
  async handle({ services, body }) {
    const made = await createMerchant(services, { ...body, merchantId: body.merchant_id ?? null });
    services.logger.info({ who: 'admin', merchantId: made.merchantId, mode: made.mode }, 'a merchant was created');
    return merchantResponse(made);
  },
});

const list = adminRoute({
  method: 'get',
  path,
  tag,
  summary: 'List merchants, oldest first',
  query: z.strictObject(paging),
  response: { description: 'A page of merchants.', schema: itemsOf(merchantShape) },
  async handle({ services: { pool }, query }) {
    const found = await listMerchants(autocommit(pool), pageOf(query, {}));
    return { items: found.map(merchantResponse) };
  },
});

const retrieve = adminRoute({
  method: 'get',
  path: `${path}/{merchant_id}`,
  tag,
  summary: 'Retrieve a merchant',
  params: merchantParams,
  response,
  async handle({ services, params }) {
    return merchantResponse(await findMerchant(services, params.merchant_id));
  },
});

/** Either takes effect within ten seconds in every process. */
function suspension(action: 'suspend' | 'resume', summary: string): Route {
  return adminRoute({
    method: 'post',
    path: `${path}/{merchant_id}/${action}`,
    tag,
    summary,
    params: merchantParams,
    response,
    async handle({ services, params }) {
      const changed = await suspendMerchant(services, params.merchant_id, action === 'suspend');
      const log = { who: 'admin', merchantId: changed.merchantId };
      services.logger.info(log, action === 'suspend' ? 'a merchant was suspended' : 'a suspension was ended');
      return merchantResponse(changed);
    },
  });
}

export const adminMerchantRoutes: readonly Route[] = [
  create,
  list,
  retrieve,
  suspension('suspend', "Refuse a merchant's API keys for now; its providers' events are still taken in and applied"),
  suspension('resume', 'End the suspension of a merchant'),
];
