import { z } from 'zod';
import { requireCustomer } from '../../customers/store.ts';
import { autocommit } from '../../db/transaction.ts';
import { RefusalError } from '../../errors.ts';
import { parseEntryId } from '../../ledger/entry.ts';
import { countsPages, erasedTextsOf, getEntry, listEntries, MAX_ENTRIES_OFFSET } from '../../ledger/history.ts';
import { holdId } from '../../ledger/holds/hold.ts';
import { holdOfEntry } from '../../ledger/holds/read.ts';
import { lotsOfEntry } from '../../ledger/lots/read.ts';
import { entryResponse, entryShape, erasedTexts, lotParts } from '../../views/entry.ts';
import {
  currency,
  customerParams,
  eventType,
  idParams,
  itemsOf,
  moment,
  pageOf,
  paging,
  queryInteger,
} from '../../views/fields.ts';
import { toPosting } from '../../views/posting.ts';
import { walletResponse, walletShape } from '../../views/wallet.ts';
import { KeylessError } from '../kit/failure.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';
import {
  datedFields,
  EXAMPLE_POSTING,
  EXAMPLE_PROMOTION,
  IDEMPOTENCY_HEADER,
  isBlindRepeat,
  KEY_EXISTS,
  keyOfRequest,
  postingFields,
  REPEATED_BLINDLY,
  termsFields,
} from './posting.ts';

const tag = 'Wallets';
const path = '/customers/{customer_id}/wallets/ledger-entries';
/** An extension, since OpenAPI cannot say that a parameter needs another one. */
const WANTS_CURRENCY = { 'x-requires': ['currency'] };
const MAX_SEQ = Number.MAX_SAFE_INTEGER;

const create = merchantRoute({
  method: 'post',
  path,
  scope: 'write',
  takesTurns: false,
  tag,
  summary: 'Credit or debit a wallet',
  description:
    'Writes one entry and answers with the wallet after it. A credit with terms (`kind` promo, an end, a priority) is a lot of its own; other credit is all one. A debit of more than is available is refused. With an idempotency key, made once for each thing that happened, the request is safe to repeat.',
  params: customerParams,
  headers: IDEMPOTENCY_HEADER,
  body: z
    .strictObject({ ...postingFields, ...termsFields, ...datedFields })
    .meta({ examples: [EXAMPLE_POSTING, EXAMPLE_PROMOTION] }),
  response: { description: 'The wallet after the entry.', schema: walletShape },
  errors: [
    'CONFLICT',
    'UNSTABLE_KEY',
    'WALLET_FROZEN',
    'WALLET_CLOSED',
    'INSUFFICIENT_WALLET_FUNDS',
    'BALANCE_LIMIT_EXCEEDED',
    'LOT_LIMIT_EXCEEDED',
    'LOTS_NOT_YET',
    'EXPIRY_IN_THE_PAST',
    'EFFECTIVE_AT_OUT_OF_RANGE',
    'PAID_CREDIT_CANNOT_EXPIRE',
    'CUSTOMER_NOT_FOUND',
    'IDEMPOTENCY_KEY_EXISTS',
    'IDEMPOTENCY_KEY_REUSED',
    'INVALID_IDEMPOTENCY_KEY',
    'UNSUPPORTED_CURRENCY',
    'MAXIMUM_KEYS_REACHED',
  ],
  async handle({ services, merchantId, params, body, headers, guard }) {
    const idempotency_key = keyOfRequest(body.idempotency_key, headers);
    guard.checkKey(idempotency_key, params.customer_id);
    const posting = toPosting(merchantId, params.customer_id, { ...body, idempotency_key });
    if (isBlindRepeat(posting, headers)) turnAway('CONFLICT', REPEATED_BLINDLY);
    const outcome = await services.ledger.post(posting, headers.traceparent).catch((error: unknown) => {
      throw posting.idempotencyKey === null ? new KeylessError(error) : error;
    });
    if (outcome.kind === 'refused') throw new RefusalError(outcome.refusal);
    if (outcome.kind === 'repeated') {
      return turnAway('IDEMPOTENCY_KEY_EXISTS', KEY_EXISTS, { entry: entryResponse(outcome.entry) });
    }
    guard.notePosting(posting);
    return walletResponse(outcome.wallet);
  },
});

const list = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: "List a customer's ledger entries, newest first",
  description:
    'Of all wallets, or of one with `currency`. `before_seq` and `after_seq` want `currency`, since each wallet counts its own entries; pages by `before_seq` skip nothing while the ledger grows. With `currency` and no `event_type` a page may lie as far back as it wants; else 10,000 entries at most lie before it.',
  params: customerParams,
  query: z
    .strictObject({
      ...paging,
      currency: currency.optional(),
      event_type: eventType.optional(),
      created_at_gte: moment.optional(),
      created_at_lte: moment.optional(),
      before_seq: queryInteger(1, MAX_SEQ)
        .optional()
        .meta({
          description: 'Only entries before this `seq`: pages that new entries do not shift. Wants `currency`.',
          ...WANTS_CURRENCY,
        }),
      after_seq: queryInteger(0, MAX_SEQ)
        .optional()
        .meta({ description: 'Only entries after this `seq`. Wants `currency`.', ...WANTS_CURRENCY }),
    })
    .refine((query) => query.currency !== undefined || (query.before_seq ?? query.after_seq) === undefined, {
      path: ['currency'],
      error: 'is wanted with before_seq and after_seq, since every wallet counts its own entries',
    })
    .refine(
      (query) =>
        (query.page_number ?? 0) * query.page_size <= MAX_ENTRIES_OFFSET ||
        countsPages({ currency: query.currency ?? null, eventType: query.event_type ?? null }),
      {
        path: ['page_number'],
        error: `reaches beyond ${MAX_ENTRIES_OFFSET} entries; name currency and no event_type, or use currency and before_seq with the seq of the last entry you have`,
      },
    ),
  response: { description: 'A page of entries.', schema: itemsOf(entryShape) },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { ledger, readers }, merchantId, params: { customer_id: customerId }, query, headers }) {
    // What is over has ended then: its entries are among these.
    await ledger.wallets(merchantId, customerId);
    const wanted = {
      currency: query.currency ?? null,
      eventType: query.event_type ?? null,
      createdFrom: query.created_at_gte ?? null,
      createdTo: query.created_at_lte ?? null,
      afterSeq: query.after_seq ?? null,
      beforeSeq: query.before_seq ?? null,
      ...pageOf(query, headers),
    };
    const entries = await readers.read(merchantId, async (db) => {
      const page = await listEntries(db, { merchantId, customerId }, wanted);
      if (page.length === 0) await requireCustomer(db, merchantId, customerId);
      return page;
    });
    return { items: entries.map(entryResponse) };
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: `${path}/{entry_id}`,
  scope: 'read',
  tag,
  summary: 'Retrieve one ledger entry',
  description:
    "By its `entry_id`. An entry never changes once it is written, but that its reason and metadata are struck out where the customer's personal data are erased.",
  params: customerParams.extend(idParams('entry_id').shape),
  response: { description: 'The entry.', schema: entryShape },
  async handle({ services, merchantId, params: { customer_id: customerId, entry_id: id } }) {
    const place = parseEntryId(id, customerId);
    if (place === null) return noEntry();
    const db = autocommit(services.pool);
    const key = { merchantId, customerId, currency: place.currency };
    const entry = (await getEntry(db, key, place.seq)) ?? noEntry();
    const holdNo = entry.eventType === 'hold_captured' ? await holdOfEntry(db, key, place.seq) : null;
    // An entry whose texts were struck out has none.
    const mayBeErased = entry.reason === null && entry.metadata === null;
    const erased = mayBeErased ? await erasedTextsOf(db, key, place.seq) : null;
    return {
      ...entryResponse(entry),
      ...(holdNo === null ? {} : { hold_id: holdId({ ...key, holdNo }) }),
      ...lotParts(entry, await lotsOfEntry(db, key, place.seq)),
      ...(erased === null ? {} : { erased: erasedTexts(erased) }),
    };
  },
});

function noEntry(): never {
  return turnAway('NOT_FOUND', 'The customer has no such ledger entry.');
}

/** They must come before the routes of `wallets.ts`, whose `{currency}` would match these paths too. */
export const ledgerEntryRoutes: readonly Route[] = [create, list, retrieve];
