import { z } from 'zod';
import { createMerchant, findMerchant, guardKeys, suspendMerchant } from '../../merchants/administration.ts';
import { getMerchant, listMerchants } from '../../merchants/merchant-store.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { pageOf, paging, text } from '../../views/fields.ts';
import { keyGuard, merchantResponse, merchantShape } from '../../views/merchant.ts';
import { BEYOND_REACH, cursor, isInReach, pageOfItems, pageResponse } from '../../views/pages.ts';
import { refuseCursor } from '../kit/cursors.ts';
import { adminRoute, type Route } from '../kit/route.ts';

const merchantId = z
  .string({ error: 'wants text' })
  .regex(/^[A-Za-z0-9._-]{1,64}$/, { error: 'wants letters, digits, dots, dashes and underscores, 64 at most' });
const mode = z.enum(['test', 'live'], { error: 'wants test or live' });

/** Whose something is, in every address of the operator's. */
export const merchantParams = z.strictObject({ merchant_id: merchantId });

/** In whose turn the operator's lists are read. */
export const OPERATOR = 'lists';

const tag = 'Administration';
const path = '/admin/merchants';
const response = { description: 'The merchant.', schema: merchantShape };

const create = adminRoute({
  method: 'post',
  path,
  tag,
  summary: 'Create a merchant',
  description: 'Its `mode` is for good, since its wallets hold play money or real money.',
  body: z
    .strictObject({
      merchant_id: merchantId.nullish().meta({ description: 'An id of your own; a new one unless given.' }),
      name: text(200, 1),
      mode,
    })
    .meta({ examples: [{ name: 'Example Shop', mode: 'live' }] }),
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
  description: 'Suspended ones too.',
  query: z.strictObject({ ...paging, cursor }).refine(isInReach, BEYOND_REACH),
  response: { description: 'A page of merchants.', schema: pageOfItems(merchantShape, EXAMPLE.merchantId) },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { operatorReaders }, query }) {
    const wanted = { after: query.cursor ?? null, ...pageOf(query, {}) };
    const found = await operatorReaders.read(OPERATOR, async (db) => {
      const page = await listMerchants(db, wanted);
      if (page.length === 0 && wanted.after !== null && (await getMerchant(db, wanted.after)) === null) refuseCursor();
      return page;
    });
    return pageResponse(found, wanted.pageSize, { show: merchantResponse, cursorOf: (one) => one.merchantId });
  },
});

const retrieve = adminRoute({
  method: 'get',
  path: `${path}/{merchant_id}`,
  tag,
  summary: 'Retrieve a merchant',
  description: 'Its keys and sources have routes of their own.',
  params: merchantParams,
  response,
  async handle({ services, params }) {
    return merchantResponse(await findMerchant(services, params.merchant_id));
  },
});

const change = adminRoute({
  method: 'patch',
  path: `${path}/{merchant_id}`,
  tag,
  summary: 'Change what is done about keys that hold the time',
  description: 'It takes effect within ten seconds in every process.',
  params: merchantParams,
  body: z.strictObject({ key_guard: keyGuard }).meta({ examples: [{ key_guard: 'refuse' }] }),
  response,
  async handle({ services, params, body }) {
    const changed = await guardKeys(services, params.merchant_id, body.key_guard);
    const log = { who: 'admin', merchantId: changed.merchantId, keyGuard: changed.keyGuard };
    services.logger.info(log, 'what is done about unstable keys was changed');
    return merchantResponse(changed);
  },
});

function suspension(action: 'suspend' | 'resume', summary: string, description: string): Route {
  return adminRoute({
    method: 'post',
    path: `${path}/{merchant_id}/${action}`,
    tag,
    summary,
    description,
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
  change,
  suspension(
    'suspend',
    'Suspend a merchant',
    "Its API keys are refused within ten seconds in every process. Its providers' events are still taken in and applied.",
  ),
  suspension('resume', 'End the suspension of a merchant', 'Its API keys are good again within ten seconds.'),
];
