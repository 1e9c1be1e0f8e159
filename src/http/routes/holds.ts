import { z } from 'zod';
import { refuseUnknownCustomer } from '../../customers/store.ts';
import { autocommit } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { capturesOf, getHold, listHolds, MOST_CAPTURES } from '../../ledger/holds/read.ts';
import type { ChangeResult, RefusedHold } from '../../ledger/holds/results.ts';
import { NUMBERS_A_PAGE } from '../../ledger/windows.ts';
import { entryResponse, entryShape } from '../../views/entry.ts';
import { EXAMPLE_ENTRY, EXAMPLE_HOLD, EXAMPLE_WALLET } from '../../views/examples.ts';
import { currency, customerParams, idParams, minorUnits, pageOf, paging, queryInteger } from '../../views/fields.ts';
import { holdDetailResponse, holdDetailShape, holdResponse, holdShape, holdStatus } from '../../views/hold.ts';
import { holdKeyOf, toCapture, toChange, toPlace, toRelease } from '../../views/hold-requests.ts';
import { BEYOND_REACH, cursor, isInReach, pageOfItems, soughtResponse } from '../../views/pages.ts';
import { walletResponse, walletShape } from '../../views/wallet.ts';
import { pageFrom } from '../kit/cursors.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';
import {
  captureFields,
  changeFields,
  HOLD_KEY_EXISTS,
  holdRefusal,
  placeFields,
  releaseFields,
} from './hold-fields.ts';
import { IDEMPOTENCY_HEADER, KEY_EXISTS, keyOfRequest } from './posting.ts';

const tag = 'Holds';
const path = '/customers/{customer_id}/wallets/holds';
const onePath = `${path}/{hold_id}`;
const holdParams = customerParams.extend(idParams('hold_id').shape);
type HoldParams = z.output<typeof holdParams>;

const EXAMPLE_OPEN = { ...EXAMPLE_HOLD, status: 'open', captured: 0, released: 0, remaining: 500, closed_at: null };
const EXAMPLE_CAPTURE = {
  ...EXAMPLE_ENTRY,
  ...{ amount: 120, event_type: 'hold_captured', before_balance: 920, reason: EXAMPLE_HOLD.reason },
  ...{ reference_object_id: EXAMPLE_HOLD.reference_object_id, metadata: null, idempotency_key: null },
};

const place = merchantRoute({
  method: 'post',
  path,
  scope: 'write',
  takesTurns: false,
  tag,
  summary: 'Set money of a wallet aside',
  description:
    'It lowers what is available, not the balance: no debit and no other hold can take it. Capture what the work came to; what is left is available again, at the latest when the hold expires.',
  params: customerParams,
  headers: IDEMPOTENCY_HEADER,
  body: z.strictObject(placeFields).meta({
    examples: [
      {
        amount: EXAMPLE_HOLD.amount,
        currency: EXAMPLE_HOLD.currency,
        idempotency_key: EXAMPLE_HOLD.idempotency_key,
        reason: EXAMPLE_HOLD.reason,
        reference_object_id: EXAMPLE_HOLD.reference_object_id,
      },
    ],
  }),
  response: { description: 'The hold.', schema: holdShape, example: EXAMPLE_OPEN },
  errors: [
    'WALLET_FROZEN',
    'WALLET_CLOSED',
    'INSUFFICIENT_WALLET_FUNDS',
    'HOLD_LIMIT_EXCEEDED',
    'HOLDS_NOT_YET',
    'CUSTOMER_NOT_FOUND',
    'IDEMPOTENCY_KEY_EXISTS',
    'IDEMPOTENCY_KEY_REUSED',
    'INVALID_IDEMPOTENCY_KEY',
    'UNSTABLE_KEY',
    'UNSUPPORTED_CURRENCY',
    'MAXIMUM_KEYS_REACHED',
  ],
  async handle({ services, merchantId, params, body, headers, guard }) {
    const key = keyOfRequest(body.idempotency_key, headers);
    guard.checkKey(key, params.customer_id);
    const result = await services.ledger.hold(toPlace({ merchantId, customerId: params.customer_id }, body, key));
    if (result.kind === 'refused') return refuseHold(result);
    if (result.kind === 'placed') return holdResponse(result.hold);
    return turnAway('IDEMPOTENCY_KEY_EXISTS', HOLD_KEY_EXISTS, { hold: holdResponse(result.hold) });
  },
});

const list = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: "List a customer's holds, newest first",
  description: `Of all wallets, or of one with \`currency\`. A page looks through ${NUMBERS_A_PAGE} holds of a wallet at most for those of a status, so that it may hold fewer than were asked for, or none, though more follow: as long as there is a \`next_cursor\`.`,
  params: customerParams,
  query: z
    .strictObject({
      ...paging,
      cursor,
      currency: currency.optional(),
      status: holdStatus.optional(),
      before_no: queryInteger(1, Number.MAX_SAFE_INTEGER)
        .optional()
        .meta({
          description: 'Only holds before this number, the last part of their `hold_id`. Wants `currency`.',
          'x-requires': ['currency'],
        }),
    })
    .refine((query) => query.currency !== undefined || query.before_no === undefined, {
      path: ['currency'],
      error: 'is wanted with before_no, since every wallet counts its own holds',
    })
    .refine(isInReach, BEYOND_REACH),
  response: { description: 'A page of holds.', schema: pageOfItems(holdShape, 'USD.980') },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { ledger, readers }, merchantId, params: { customer_id: customerId }, query, headers }) {
    // What is over has ended then.
    const wallets = await ledger.wallets(merchantId, customerId);
    if (wallets.length === 0) refuseUnknownCustomer(customerId);
    const filter = { currency: query.currency ?? null, state: query.status ?? null, from: pageFrom(query) };
    const asked = { ...filter, ...pageOf(query, headers) };
    const owner = { wallets, merchantId, customerId };
    const { holds, next } = await readers.read(merchantId, (db) => listHolds(db, owner, asked));
    return soughtResponse(holds.map(holdResponse), next);
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: onePath,
  scope: 'read',
  tag,
  summary: 'Retrieve one hold with its captures',
  description: `As it stands now, with its ${MOST_CAPTURES} newest captures, oldest first. The entries of captures have the hold's \`reference_object_id\`.`,
  params: holdParams,
  response: { description: 'The hold.', schema: holdDetailShape },
  errors: ['HOLD_NOT_FOUND'],
  async handle({ services: { ledger, pool }, merchantId, params }) {
    const key = holdKeyOf(referenceOf(merchantId, params));
    await ledger.wallets(merchantId, key.customerId);
    const db = autocommit(pool);
    const hold = (await getHold(db, key)) ?? refuse({ code: 'HOLD_NOT_FOUND' });
    return holdDetailResponse(hold, await capturesOf(db, key));
  },
});

const capture = merchantRoute({
  method: 'post',
  path: `${onePath}/capture`,
  scope: 'write',
  takesTurns: false,
  tag,
  summary: 'Capture a hold, or part of it',
  description:
    'Writes one entry of type `hold_captured`, and releases the rest unless `final` is false. It never leaves a debt: where a refund or dispute took what was held, a capture takes at most what is there.',
  params: holdParams,
  headers: IDEMPOTENCY_HEADER,
  body: z.strictObject(captureFields).meta({ examples: [{ amount: EXAMPLE_HOLD.captured }] }),
  bodyOptional: true,
  response: {
    description: 'The hold and the wallet after the capture, and its entry if there was anything to take.',
    schema: z.strictObject({
      hold: holdShape,
      entry: entryShape.optional(),
      uncaptured: minorUnits.meta({ description: 'What was asked for and not there, with `up_to_balance`.' }),
      wallet: walletShape,
    }),
    example: { hold: EXAMPLE_HOLD, entry: EXAMPLE_CAPTURE, uncaptured: 0, wallet: EXAMPLE_WALLET },
  },
  errors: [
    'HOLD_NOT_FOUND',
    'HOLD_OWNED',
    'HOLD_NOT_OPEN',
    'HOLD_AMOUNT_EXCEEDED',
    'WALLET_FROZEN',
    'WALLET_CLOSED',
    'INSUFFICIENT_WALLET_FUNDS',
    'IDEMPOTENCY_KEY_EXISTS',
    'IDEMPOTENCY_KEY_REUSED',
    'INVALID_IDEMPOTENCY_KEY',
    'UNSTABLE_KEY',
    'UNSUPPORTED_CURRENCY',
    'MAXIMUM_KEYS_REACHED',
  ],
  async handle({ services, merchantId, params, body, headers, guard }) {
    const key = keyOfRequest(body.idempotency_key, headers);
    guard.checkKey(key, params.customer_id);
    const result = await services.ledger.hold(toCapture(referenceOf(merchantId, params), body, key));
    if (result.kind === 'refused') return refuseHold(result);
    if (result.kind === 'repeated') {
      return turnAway('IDEMPOTENCY_KEY_EXISTS', KEY_EXISTS, { entry: entryResponse(result.entry) });
    }
    const { hold, entry, uncaptured, wallet } = result;
    const written = entry === null ? {} : { entry: entryResponse(entry) };
    return { hold: holdResponse(hold), ...written, uncaptured, wallet: walletResponse(wallet) };
  },
});

const release = merchantRoute({
  method: 'post',
  path: `${onePath}/release`,
  scope: 'write',
  takesTurns: false,
  tag,
  summary: 'Release what is left of a hold',
  description: 'One that was released before or has expired is answered as it is; one that was captured is refused.',
  params: holdParams,
  body: z.strictObject(releaseFields).meta({ examples: [{ reason: 'The job was cancelled' }] }),
  bodyOptional: true,
  response: { description: 'The hold.', schema: holdShape },
  errors: ['HOLD_NOT_FOUND', 'HOLD_OWNED', 'HOLD_NOT_OPEN', 'UNSUPPORTED_CURRENCY'],
  async handle({ services, merchantId, params, body }) {
    return changedHold(await services.ledger.hold(toRelease(referenceOf(merchantId, params), body)));
  },
});

const change = merchantRoute({
  method: 'patch',
  path: onePath,
  scope: 'write',
  takesTurns: false,
  tag,
  summary: 'Change the amount or the end of a hold',
  description:
    'Up by what is available, down to what was captured; an amount below that is refused as `INVALID_REQUEST_BODY`.',
  params: holdParams,
  body: z.strictObject(changeFields).meta({ examples: [{ amount: 700, expires_in_seconds: 1800 }] }),
  response: { description: 'The hold.', schema: holdShape, example: { ...EXAMPLE_OPEN, amount: 700, remaining: 700 } },
  errors: [
    'HOLD_NOT_FOUND',
    'HOLD_OWNED',
    'HOLD_NOT_OPEN',
    'WALLET_FROZEN',
    'INSUFFICIENT_WALLET_FUNDS',
    'UNSUPPORTED_CURRENCY',
  ],
  async handle({ services, merchantId, params, body }) {
    return changedHold(await services.ledger.hold(toChange(referenceOf(merchantId, params), body)));
  },
});

function referenceOf(merchantId: string, { customer_id: customerId, hold_id: holdId }: HoldParams) {
  return { merchantId, customerId, holdId };
}

function changedHold(result: ChangeResult) {
  return result.kind === 'refused' ? refuseHold(result) : holdResponse(result.hold);
}

function refuseHold(result: RefusedHold): never {
  const { code, message, details } = holdRefusal(result);
  return turnAway(code, message, details);
}

/** They must come before the routes of `wallets.ts`, whose `{currency}` would match these paths too. */
export const holdRoutes: readonly Route[] = [place, list, change, capture, release, retrieve];
