import { z } from 'zod';
import { listWarnings } from '../../merchants/key-guard/warning-store.ts';
import { pageOf, paging } from '../../views/fields.ts';
import { EXAMPLE_WARNING, keyWarningResponse, keyWarningShape } from '../../views/key-warning.ts';
import { BEYOND_REACH, cursor, isInReach, pageOfItems, pageResponse } from '../../views/pages.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const list = merchantRoute({
  method: 'get',
  path: '/key-warnings',
  scope: 'read',
  takesTurns: false,
  tag: 'Wallets',
  summary: 'List warnings of idempotency keys, newest first',
  description:
    'Keys that hold the time, so that a repeat would have another one, and entries that are the same but for their keys. The newest 1,000 are kept, stored some seconds after the request; of very many at once, a part. The answers of such requests have the header `x-chokin-warning`.',
  query: z.strictObject({ ...paging, cursor }).refine(isInReach, BEYOND_REACH),
  response: { description: 'A page of warnings.', schema: pageOfItems(keyWarningShape, EXAMPLE_WARNING) },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, query, headers }) {
    const page = pageOf(query, headers);
    const wanted = { ...page, before: query.cursor ?? null };
    const found = await readers.read(merchantId, (db) => listWarnings(db, merchantId, wanted));
    return pageResponse(found, page.pageSize, { show: keyWarningResponse, cursorOf: (one) => one.warningId });
  },
});

export const keyWarningRoutes: readonly Route[] = [list];
