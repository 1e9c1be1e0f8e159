import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { BatcherFullError } from '../../db/batcher.ts';
import { isUnavailable } from '../../db/sqlstate.ts';
import { RefusalError } from '../../errors.ts';
import type { Posting } from '../../ledger/entry.ts';
import { batchEntryKey } from '../../ledger/keys.ts';
import { entryResponse, entryShape } from '../../views/entry.ts';
import { ERROR_STATUS } from '../../views/error-status.ts';
import { EXAMPLE, EXAMPLE_ENTRY, EXAMPLE_WALLET } from '../../views/examples.ts';
import { itemsOf, text } from '../../views/fields.ts';
import { toPosting } from '../../views/posting.ts';
import { type PublicRefusal, publicRefusal } from '../../views/refusals.ts';
import { walletResponse, walletShape } from '../../views/wallet.ts';
import { ERROR_GUIDE } from '../kit/error-guide.ts';
import type { RequestGuard } from '../kit/request-guard.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { isErrorCode, validate } from '../kit/validate.ts';
import {
  datedFields,
  EXAMPLE_POSTING,
  headerKey,
  idempotencyHeader,
  isBlindRepeat,
  KEY_EXISTS,
  postingFields,
  REPEATED_BLINDLY,
  termsFields,
} from './posting.ts';

export const MAX_BATCH_ITEMS = 1000;
/** Room for a thousand entries with a reason and some metadata each. */
export const BATCH_LIMIT_BYTES = 2 * 1024 * 1024;

const EXAMPLE_BATCH_ENTRY = { customer_id: EXAMPLE.customerId, ...EXAMPLE_POSTING };
const batchEntry = z
  .strictObject({ customer_id: text(300, 1), ...postingFields, ...termsFields, ...datedFields })
  .meta({ id: 'BatchEntry', examples: [EXAMPLE_BATCH_ENTRY] });

export const CODES = Object.keys(ERROR_STATUS).filter(isErrorCode);

const item = z
  .strictObject({
    status: z.enum(['created', 'repeated', 'refused']).meta({
      description: 'repeated: the same request was made before under the same key; `entry` is what it wrote.',
    }),
    code: z.enum(CODES).optional().meta({ description: 'Why not, as in an error body. Absent when created.' }),
    message: z.string().optional(),
    available: z.int().optional(),
    required: z.int().optional(),
    shortfall: z.int().optional(),
    entry: entryShape.optional(),
    wallet: walletShape.optional(),
  })
  .meta({ id: 'BatchItem', examples: [{ status: 'created', entry: EXAMPLE_ENTRY, wallet: EXAMPLE_WALLET }] });

type Item = z.output<typeof item>;

/** Shorter than other keys, since the number of each entry is added to it. */
export const MAX_HEADER_KEY_LENGTH = 250;

export const BATCH_HEADER = idempotencyHeader(
  MAX_HEADER_KEY_LENGTH,
  'Gives a key to each entry that has none: `<this>/<its place, from 0>`. The same batch under the same header writes nothing twice.',
);

/** More than the balance, so that the example shows an entry that is refused. */
const EXAMPLE_LARGE_DEBIT = {
  customer_id: EXAMPLE.customerId,
  amount: 1250,
  currency: EXAMPLE.currency,
  entry_type: 'debit',
  idempotency_key: 'usage-2026-02',
} as const;
const EXAMPLE_ITEMS: readonly Item[] = [
  { status: 'created', entry: EXAMPLE_ENTRY, wallet: EXAMPLE_WALLET },
  { status: 'refused', code: 'INSUFFICIENT_WALLET_FUNDS', ...ERROR_GUIDE.INSUFFICIENT_WALLET_FUNDS.sample },
];

const ENTRIES_ERROR = `wants 1 to ${MAX_BATCH_ITEMS} entries`;

const create = merchantRoute({
  method: 'post',
  path: '/ledger-entries/batch',
  scope: 'write',
  takesTurns: false,
  tag: 'Wallets',
  summary: 'Credit or debit many wallets',
  description:
    'Every entry has its own key and its own outcome: one that is refused stops no other, and the answer is 200 all the same. Look at the `status` of each item.',
  headers: BATCH_HEADER,
  body: z
    .strictObject({
      // Each entry is validated on its own, so that a mistake in one fails no other.
      entries: z
        .array(z.unknown(), { error: ENTRIES_ERROR })
        .min(1, { error: ENTRIES_ERROR })
        .max(MAX_BATCH_ITEMS, { error: ENTRIES_ERROR })
        .meta({ items: { $ref: '#/components/schemas/BatchEntry' } }),
    })
    .meta({ examples: [{ entries: [EXAMPLE_BATCH_ENTRY, EXAMPLE_LARGE_DEBIT] }] }),
  bodyLimitBytes: BATCH_LIMIT_BYTES,
  response: {
    description:
      'One outcome for each entry, in the order of the request. Entries of one wallet are written in that order too.',
    schema: itemsOf(item),
    example: { items: EXAMPLE_ITEMS },
  },
  errors: ['INVALID_IDEMPOTENCY_KEY'],
  work: ({ body }) => body.entries.length,
  async handle({ services, merchantId, body, headers, guard }) {
    if (!services.ledger.hasRoom(merchantId)) throw new BatcherFullError('merchant', merchantId);
    const key = headerKey(headers, MAX_HEADER_KEY_LENGTH);
    const post = (entry: unknown, place: number) =>
      postOne(services, entry, {
        merchantId,
        headers,
        guard,
        spareKey: key === null ? null : batchEntryKey(key, place),
      });
    const items = await Promise.all(body.entries.map(post));
    return { items };
  },
});

interface BatchRequest {
  readonly merchantId: string;
  readonly headers: IncomingHttpHeaders;
  readonly guard: RequestGuard;
  /** The key of an entry that has none of its own, made from that of the whole batch; null if the batch has none. */
  readonly spareKey: string | null;
}

async function postOne(services: Services, entry: unknown, { spareKey, ...request }: BatchRequest): Promise<Item> {
  const parsed = validate(batchEntry, entry, 'INVALID_REQUEST_BODY');
  if (!parsed.ok) return refused(parsed.refusal);
  const { customer_id: customerId, ...body } = parsed.value;
  const wanted = { ...body, idempotency_key: body.idempotency_key ?? spareKey };
  try {
    request.guard.checkKey(wanted.idempotency_key, customerId);
    return await postParsed(services, toPosting(request.merchantId, customerId, wanted), request);
  } catch (error) {
    if (error instanceof RefusalError) return refused(publicRefusal(error.refusal));
    throw error;
  }
}

async function postParsed(
  services: Services,
  posting: Posting,
  { merchantId, headers, guard }: Omit<BatchRequest, 'spareKey'>,
): Promise<Item> {
  if (isBlindRepeat(posting, headers)) return refused({ code: 'CONFLICT', message: REPEATED_BLINDLY });
  try {
    const outcome = await services.ledger.post(posting, headers.traceparent);
    if (outcome.kind === 'refused') return refused(publicRefusal(outcome.refusal));
    const wallet = outcome.wallet === null ? {} : { wallet: walletResponse(outcome.wallet) };
    const written = { entry: entryResponse(outcome.entry), ...wallet };
    if (outcome.kind === 'created') {
      guard.notePosting(posting);
      return { status: 'created', ...written };
    }
    return { status: 'repeated', code: 'IDEMPOTENCY_KEY_EXISTS', message: KEY_EXISTS, ...written };
  } catch (error) {
    return refused(refusalInBatch(error, services, merchantId));
  }
}

/** What is said of one item that failed. Others of the batch may be done already, so the answer as a whole cannot be an error. */
export function refusalInBatch(error: unknown, { logger, noteLimited }: Services, merchantId: string): PublicRefusal {
  if (error instanceof BatcherFullError) {
    noteLimited({ who: 'merchant', limit: 'waiting' }, merchantId);
    return { code: 'TOO_MANY_REQUESTS', message: BUSY };
  }
  if (isUnavailable(error)) return { code: 'SERVICE_UNAVAILABLE', message: UNSURE };
  logger.error({ err: error }, 'an item of a batch failed unexpectedly');
  return { code: 'INTERNAL_SERVER_ERROR', message: 'Something went wrong on our side.' };
}

const BUSY = 'Too much of this merchant is waiting to be written; this was not. Try it again shortly.';
const UNSURE =
  'The connection to the database was lost, and this may or may not be written. With an idempotency key it is safe to repeat.';

function refused({ code, message, details }: PublicRefusal): Item {
  return { status: 'refused', code, message, ...details };
}

/** The schema of one entry, for the OpenAPI document; the batch validates each entry by itself. */
export const BATCH_ENTRY = batchEntry;

export const batchRoutes: readonly Route[] = [create];
