import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { LaneFullError } from '../../db/batcher.ts';
import { isUnavailable } from '../../db/sqlstate.ts';
import { type Refusal, refusal } from '../../errors.ts';
import { entryResponse, entryShape, walletResponse, walletShape } from '../../views/entry.ts';
import { text } from '../../views/fields.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { validate } from '../kit/validate.ts';
import {
  headerKey,
  idempotencyHeader,
  isBlindRepeat,
  KEY_EXISTS,
  postingFields,
  publicRefusal,
  REPEATED_BLINDLY,
  toPosting,
} from './posting.ts';

const MAX_ENTRIES = 1000;
/** A thousand entries with a reason and some metadata each. */
const LIMIT_BYTES = 2 * 1024 * 1024;

const batchEntry = z.strictObject({ customer_id: text(300, 1), ...postingFields }).meta({ id: 'BatchEntry' });

const item = z
  .strictObject({
    status: z.enum(['created', 'repeated', 'refused']).meta({
      description: 'repeated: the same request was made before under the same key; `entry` is what it wrote.',
    }),
    code: z.string().optional().meta({ description: 'Why not, as in an error body. Absent when created.' }),
    message: z.string().optional(),
    available: z.int().optional(),
    required: z.int().optional(),
    shortfall: z.int().optional(),
    entry: entryShape.optional(),
    wallet: walletShape.optional(),
  })
  .meta({ id: 'BatchItem' });

type Item = z.output<typeof item>;

/** Leaves room for the place of the entry, so that what is made of the key is no longer than a key may be. */
const MAX_HEADER_KEY_LENGTH = 250;

const BATCH_HEADER = idempotencyHeader(
  MAX_HEADER_KEY_LENGTH,
  'Gives a key to each entry that has none: `<this>/<its place, from 0>`. The same batch under the same header writes nothing twice.',
);

const ENTRIES_ERROR = `wants 1 to ${MAX_ENTRIES} entries`;

const create = merchantRoute({
  method: 'post',
  path: '/ledger-entries/batch',
  scope: 'write',
  tag: 'Wallets',
  summary: 'Credit or debit many wallets; every entry has its own key and its own outcome',
  headers: BATCH_HEADER,
  body: z.strictObject({
    // Each entry is validated on its own, so that a mistake in one fails no other.
    entries: z
      .array(z.unknown(), { error: ENTRIES_ERROR })
      .min(1, { error: ENTRIES_ERROR })
      .max(MAX_ENTRIES, { error: ENTRIES_ERROR })
      .meta({ items: { $ref: '#/components/schemas/BatchEntry' } }),
  }),
  bodyLimitBytes: LIMIT_BYTES,
  response: {
    description:
      'One outcome for each entry, in the order of the request. Entries of one wallet are written in that order too.',
    schema: z.strictObject({ items: z.array(item) }),
  },
  errors: ['INVALID_IDEMPOTENCY_KEY'],
  async handle({ services, merchantId, body, headers }) {
    const key = headerKey(headers, MAX_HEADER_KEY_LENGTH);
    const post = (entry: unknown, place: number) =>
      postOne(services, merchantId, entry, { headers, spareKey: key === null ? null : `${key}/${place}` });
    const items = await Promise.all(body.entries.map(post));
    return { items };
  },
});

async function postOne(
  { ledger, logger }: Services,
  merchantId: string,
  entry: unknown,
  { headers, spareKey }: { readonly headers: IncomingHttpHeaders; readonly spareKey: string | null },
): Promise<Item> {
  const parsed = validate(batchEntry, entry, 'INVALID_REQUEST_BODY');
  if (!parsed.ok) return refused(parsed.refusal);
  const { customer_id: customerId, ...body } = parsed.value;
  const posting = toPosting(merchantId, customerId, { ...body, idempotency_key: body.idempotency_key ?? spareKey });
  if (isBlindRepeat(posting, headers)) return refused(refusal('CONFLICT', REPEATED_BLINDLY));
  try {
    const outcome = await ledger.post(posting, headers.traceparent);
    if (outcome.kind === 'refused') return refused(publicRefusal(outcome));
    const wallet = outcome.wallet === null ? {} : { wallet: walletResponse(outcome.wallet) };
    const written = { entry: entryResponse(outcome.entry), ...wallet };
    if (outcome.kind === 'created') return { status: 'created', ...written };
    return { status: 'repeated', code: 'IDEMPOTENCY_KEY_EXISTS', message: KEY_EXISTS, ...written };
  } catch (error) {
    // The neighbours may be written already, so the answer as a whole cannot be an error.
    if (error instanceof LaneFullError) return refused(refusal('SERVICE_UNAVAILABLE', BUSY));
    if (isUnavailable(error)) return refused(refusal('SERVICE_UNAVAILABLE', UNSURE));
    logger.error({ err: error }, 'an entry of a batch failed unexpectedly');
    return refused(refusal('INTERNAL_SERVER_ERROR', 'Something went wrong on our side.'));
  }
}

const BUSY = 'Too much is waiting to be written; this entry was not. Try it again shortly.';
const UNSURE =
  'The connection to the database was lost, and this entry may or may not be written. With an idempotency key it is safe to repeat.';

function refused({ code, message, details }: Refusal): Item {
  return { status: 'refused', code, message, ...details };
}

/** The schema of one entry, which the OpenAPI document names although validation meets it only one by one. */
export const BATCH_ENTRY = batchEntry;

export const batchRoutes: readonly Route[] = [create];
