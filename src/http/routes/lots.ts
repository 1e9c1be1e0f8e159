import { z } from 'zod';
import { refuseUnknownCustomer } from '../../customers/store.ts';
import { refuse } from '../../errors.ts';
import {
  changesOf,
  getLot,
  listClosedLots,
  listOpenLots,
  MOST_MOVEMENTS,
  movementsOf,
} from '../../ledger/lots/read.ts';
import type { RefusedLot } from '../../ledger/lots/results.ts';
import { NUMBERS_A_PAGE } from '../../ledger/windows.ts';
import { entryResponse, entryShape } from '../../views/entry.ts';
import { EXAMPLE_ENTRY, EXAMPLE_LOT, EXAMPLE_WALLET } from '../../views/examples.ts';
import {
  amount,
  currency,
  customerParams,
  idParams,
  moment,
  pageOf,
  paging,
  queryInteger,
  text,
} from '../../views/fields.ts';
import { lotDetailResponse, lotDetailShape, lotKind, lotResponse, lotShape } from '../../views/lot.ts';
import { lotKeyOf, toLotChange, toVoid } from '../../views/lot-requests.ts';
import { BEYOND_REACH, cursor, isInReach, pageOfItems, soughtResponse } from '../../views/pages.ts';
import { publicRefusal } from '../../views/refusals.ts';
import { walletResponse, walletShape } from '../../views/wallet.ts';
import { pageFrom } from '../kit/cursors.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';
import { IDEMPOTENCY_HEADER, KEY_EXISTS, keyOfRequest, lotPriority } from './posting.ts';

const tag = 'Lots';
const path = '/customers/{customer_id}/wallets/lots';
const onePath = `${path}/{lot_id}`;
const lotParams = customerParams.extend(idParams('lot_id').shape);
type LotParams = z.output<typeof lotParams>;

const EXAMPLE_OPEN = { ...EXAMPLE_LOT, status: 'open', remaining: 300, voided: 0, closed_at: null };
const EXAMPLE_VOID = {
  ...EXAMPLE_ENTRY,
  ...{ amount: 300, event_type: 'credit_voided', before_balance: 1100, reason: 'Given by mistake' },
  ...{ reference_object_id: EXAMPLE_LOT.lot_id, metadata: null, idempotency_key: 'void-2026-01' },
};

const list = merchantRoute({
  takesTurns: false,
  method: 'get',
  path,
  scope: 'read',
  tag,
  summary: "List a customer's lots",
  description: `Open ones in the order in which they are spent, wallet by wallet; with \`status=closed\` those of which nothing is left, newest first. A page looks through ${NUMBERS_A_PAGE} lots of a wallet at most for those, so that it may hold fewer than were asked for, or none, though more follow: as long as there is a \`next_cursor\`.`,
  params: customerParams,
  query: z
    .strictObject({
      ...paging,
      cursor,
      currency: currency.optional(),
      status: z
        .enum(['open', 'closed'], { error: 'wants open or closed' })
        .default('open')
        .meta({ description: 'Open unless given.', default: 'open' }),
      kind: lotKind.optional(),
      expires_before: moment.optional().meta({ description: 'Only lots that end before this.' }),
      before_no: queryInteger(1, Number.MAX_SAFE_INTEGER)
        .optional()
        .meta({
          description:
            'Only closed lots before this number, the last part of their `lot_id`: pages that new ones do not shift. Wants `currency`.',
          'x-requires': ['currency'],
        }),
    })
    .refine((query) => query.currency !== undefined || query.before_no === undefined, {
      path: ['currency'],
      error: 'is wanted with before_no, since every wallet counts its own lots',
    })
    .refine((query) => query.cursor === undefined || query.status === 'closed', {
      path: ['cursor'],
      error: 'is of closed lots: it wants status=closed',
    })
    .refine(isInReach, BEYOND_REACH),
  response: {
    description: 'A page of lots.',
    schema: pageOfItems(lotShape, 'USD.980'),
    example: { items: [EXAMPLE_OPEN] },
  },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { ledger, readers }, merchantId, params: { customer_id: customerId }, query, headers }) {
    // What is over has ended then.
    const wallets = await ledger.wallets(merchantId, customerId);
    if (wallets.length === 0) refuseUnknownCustomer(customerId);
    const filter = {
      currency: query.currency ?? null,
      kind: query.kind ?? null,
      expiresBefore: query.expires_before ?? null,
    };
    const page = pageOf(query, headers);
    const owner = { wallets, merchantId, customerId };
    const from = pageFrom(query);
    return readers.read(merchantId, async (db) => {
      if (query.status === 'closed') {
        const { lots, next } = await listClosedLots(db, owner, { ...filter, ...page, from });
        return soughtResponse(lots.map(lotResponse), next);
      }
      const first = page.pageSize * page.pageNumber;
      const lots = (await listOpenLots(db, owner, filter)).slice(first, first + page.pageSize);
      return { items: lots.map(lotResponse) };
    });
  },
});

const retrieve = merchantRoute({
  takesTurns: false,
  method: 'get',
  path: onePath,
  scope: 'read',
  tag,
  summary: 'Retrieve one lot with what became of it',
  description: `As it stands now, with its ${MOST_MOVEMENTS} newest movements and every change of its terms, oldest first.`,
  params: lotParams,
  response: { description: 'The lot.', schema: lotDetailShape },
  errors: ['LOT_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { ledger, readers }, merchantId, params }) {
    const key = lotKeyOf(referenceOf(merchantId, params));
    await ledger.wallets(merchantId, key.customerId);
    return readers.read(merchantId, async (db) => {
      const lot = (await getLot(db, key)) ?? refuse({ code: 'LOT_NOT_FOUND' });
      return lotDetailResponse(lot, await movementsOf(db, key), await changesOf(db, key));
    });
  },
});

const voidOne = merchantRoute({
  takesTurns: false,
  method: 'post',
  path: `${onePath}/void`,
  scope: 'write',
  tag,
  summary: 'Take credit with terms away again',
  description:
    'What is left of the lot, or a part of it, by one entry of type `credit_voided`. What a hold needs is not taken.',
  params: lotParams,
  headers: IDEMPOTENCY_HEADER,
  body: z
    .strictObject({
      amount: amount.optional().meta({ description: 'Minor units; what is left unless given.' }),
      reason: text(1000, 1),
      idempotency_key: text(255, 1).nullable().optional().meta({
        description: 'Wanted, here or in the header. It is one of the keys of entries.',
      }),
    })
    .meta({ examples: [{ reason: EXAMPLE_VOID.reason, idempotency_key: EXAMPLE_VOID.idempotency_key }] }),
  response: {
    description: 'The lot and the wallet after it, and its entry.',
    schema: z.strictObject({ lot: lotShape, entry: entryShape, wallet: walletShape }),
    example: { lot: EXAMPLE_LOT, entry: EXAMPLE_VOID, wallet: EXAMPLE_WALLET },
  },
  errors: [
    'LOT_NOT_FOUND',
    'LOT_NOT_OPEN',
    'LOT_AMOUNT_EXCEEDED',
    'INSUFFICIENT_WALLET_FUNDS',
    'IDEMPOTENCY_KEY_EXISTS',
    'IDEMPOTENCY_KEY_REUSED',
    'INVALID_IDEMPOTENCY_KEY',
    'UNSTABLE_KEY',
    'UNSUPPORTED_CURRENCY',
  ],
  async handle({ services, merchantId, params, body, headers, guard }) {
    const key = keyOfRequest(body.idempotency_key, headers);
    guard.checkKey(key, params.customer_id);
    const result = await services.ledger.lot(toVoid(referenceOf(merchantId, params), body, key));
    if (result.kind === 'refused') return refuseLot(result);
    if (result.kind === 'repeated') {
      return turnAway('IDEMPOTENCY_KEY_EXISTS', KEY_EXISTS, { entry: entryResponse(result.entry) });
    }
    const { lot, entry, wallet } = result;
    return { lot: lotResponse(lot), entry: entryResponse(entry), wallet: walletResponse(wallet) };
  },
});

const change = merchantRoute({
  takesTurns: false,
  method: 'patch',
  path: onePath,
  scope: 'write',
  tag,
  summary: 'Change the end or the priority of a lot',
  description:
    'While anything is left of it. It moves no money; who changed it and why is kept, of a hundred changes at most (409 `CONFLICT`). Only `promo` and `adjustment` may end sooner than they would have.',
  params: lotParams,
  body: z
    .strictObject({
      expires_at: moment.nullable().optional().meta({ description: 'Null: it never ends.' }),
      priority: lotPriority,
      reason: text(1000, 1),
    })
    .meta({ examples: [{ expires_at: '2026-04-01T00:00:00Z', reason: 'Asked for more time' }] }),
  response: {
    description: 'The lot.',
    schema: lotShape,
    example: { ...EXAMPLE_OPEN, expires_at: '2026-04-01T00:00:00.000Z' },
  },
  errors: [
    'LOT_NOT_FOUND',
    'LOT_NOT_OPEN',
    'CONFLICT',
    'EXPIRY_IN_THE_PAST',
    'PAID_CREDIT_CANNOT_EXPIRE',
    'UNSUPPORTED_CURRENCY',
  ],
  async handle({ services, merchantId, keyId, params, body }) {
    const result = await services.ledger.lot(toLotChange(referenceOf(merchantId, params), body, `key:${keyId}`));
    return result.kind === 'refused' ? refuseLot(result) : lotResponse(result.lot);
  },
});

function referenceOf(merchantId: string, { customer_id: customerId, lot_id: lotId }: LotParams) {
  return { merchantId, customerId, lotId };
}

/** What has ended is shown, so that the caller sees how. */
function refuseLot({ refusal, lot }: RefusedLot): never {
  const { code, message, details } = publicRefusal(refusal);
  return turnAway(code, message, { ...details, ...(lot === undefined ? {} : { lot: lotResponse(lot) }) });
}

/** They must come before the routes of `wallets.ts`, whose `{currency}` would match these paths too. */
export const lotRoutes: readonly Route[] = [list, change, voidOne, retrieve];
