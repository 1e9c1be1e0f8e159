import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { BatcherFullError } from '../../db/batcher.ts';
import { invariant, RefusalError } from '../../errors.ts';
import type { Posting } from '../../ledger/entry.ts';
import type { CaptureHold, ChangeHold, PlaceHold, ReleaseHold } from '../../ledger/holds/hold.ts';
import { batchEntryKey } from '../../ledger/keys.ts';
import type { CommandResult } from '../../ledger/post.ts';
import { entryResponse, entryShape } from '../../views/entry.ts';
import { EXAMPLE, EXAMPLE_HOLD, EXAMPLE_WALLET } from '../../views/examples.ts';
import { itemsOf, text } from '../../views/fields.ts';
import { holdResponse, holdShape } from '../../views/hold.ts';
import { toCapture, toChange, toPlace, toRelease } from '../../views/hold-requests.ts';
import { toPosting } from '../../views/posting.ts';
import { type PublicRefusal, publicRefusal } from '../../views/refusals.ts';
import { walletResponse, walletShape } from '../../views/wallet.ts';
import type { RequestGuard } from '../kit/request-guard.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { validate } from '../kit/validate.ts';
import {
  BATCH_HEADER,
  BATCH_LIMIT_BYTES,
  CODES,
  MAX_BATCH_ITEMS,
  MAX_HEADER_KEY_LENGTH,
  refusalInBatch,
} from './batch.ts';
import {
  captureFields,
  changeFields,
  HOLD_KEY_EXISTS,
  holdRefusal,
  placeFields,
  releaseFields,
} from './hold-fields.ts';
import { headerKey, isBlindRepeat, KEY_EXISTS, postingFields, REPEATED_BLINDLY } from './posting.ts';

const customer_id = text(300, 1);
const ofHold = { customer_id, hold_id: text(400, 1) };
const { entry_type: _, ...debitFields } = postingFields;

const EXAMPLE_OPERATIONS = [
  { op: 'capture', customer_id: EXAMPLE.customerId, hold_id: EXAMPLE.holdId, amount: EXAMPLE_HOLD.captured },
  { op: 'place', customer_id: EXAMPLE.customerId, amount: 500, currency: EXAMPLE.currency, idempotency_key: 'job-43' },
] as const;

const operation = z
  .discriminatedUnion(
    'op',
    [
      z.strictObject({ op: z.literal('place'), customer_id, ...placeFields }),
      z.strictObject({ op: z.literal('capture'), ...ofHold, ...captureFields }),
      z.strictObject({ op: z.literal('release'), ...ofHold, ...releaseFields }),
      z.strictObject({ op: z.literal('change'), ...ofHold, ...changeFields }),
      z.strictObject({ op: z.literal('debit'), customer_id, ...debitFields }),
    ],
    { error: 'wants an object whose op is place, capture, release, change or debit' },
  )
  .meta({ id: 'HoldOperation', examples: [...EXAMPLE_OPERATIONS] });

type Operation = z.output<typeof operation>;

const item = z
  .strictObject({
    status: z.enum(['done', 'repeated', 'refused']).meta({
      description: 'repeated: the same was asked before under the same key; `hold` or `entry` is what it made.',
    }),
    code: z.enum(CODES).optional().meta({ description: 'Why not, as in an error body. Absent when done.' }),
    message: z.string().optional(),
    available: z.int().optional(),
    required: z.int().optional(),
    shortfall: z.int().optional(),
    remaining: z.int().optional(),
    limit: z.int().optional(),
    kind: z.string().optional().meta({ description: 'Whose the hold is, with `HOLD_OWNED`.' }),
    hold: holdShape.optional(),
    entry: entryShape.optional(),
    uncaptured: z.int().optional(),
    wallet: walletShape.optional(),
  })
  .meta({ id: 'HoldBatchItem', examples: [{ status: 'done', hold: EXAMPLE_HOLD, wallet: EXAMPLE_WALLET }] });

type Item = z.output<typeof item>;

const OPERATIONS_ERROR = `wants 1 to ${MAX_BATCH_ITEMS} operations`;

const create = merchantRoute({
  method: 'post',
  path: '/holds/batch',
  scope: 'write',
  takesTurns: false,
  tag: 'Holds',
  summary: 'Place, capture, release and change many holds, and debit',
  description:
    'Every operation has its own outcome: one that is refused stops no other, and the answer is 200 all the same. Look at the `status` of each item. Operations on one wallet are carried out in the order of the request.',
  headers: BATCH_HEADER,
  body: z
    .strictObject({
      // Each is validated on its own, so that a mistake in one fails no other.
      operations: z
        .array(z.unknown(), { error: OPERATIONS_ERROR })
        .min(1, { error: OPERATIONS_ERROR })
        .max(MAX_BATCH_ITEMS, { error: OPERATIONS_ERROR })
        .meta({ items: { $ref: '#/components/schemas/HoldOperation' } }),
    })
    .meta({ examples: [{ operations: [...EXAMPLE_OPERATIONS] }] }),
  bodyLimitBytes: BATCH_LIMIT_BYTES,
  response: { description: 'One outcome for each operation, in the order of the request.', schema: itemsOf(item) },
  errors: ['INVALID_IDEMPOTENCY_KEY'],
  work: ({ body }) => body.operations.length,
  async handle({ services, merchantId, body, headers, guard }) {
    if (!services.ledger.hasRoom(merchantId)) throw new BatcherFullError('merchant', merchantId);
    const key = headerKey(headers, MAX_HEADER_KEY_LENGTH);
    await services.ledger.mayPlace();
    const request = { merchantId, headers, guard };
    const read = body.operations.map((one, place) =>
      readOne(services, one, { ...request, spareKey: key === null ? null : batchEntryKey(key, place) }),
    );
    const outcomes = (await services.ledger.all(read.filter(isCommand), headers.traceparent)).values();
    const items = read.map((one) =>
      isCommand(one) ? answerTo(one, outcomes.next().value, { services, ...request }) : one,
    );
    return { items };
  },
});

interface BatchRequest {
  readonly merchantId: string;
  readonly headers: IncomingHttpHeaders;
  readonly guard: RequestGuard;
  /** The key of an operation that has none of its own; null if the batch has none. */
  readonly spareKey: string | null;
}

type Command = PlaceHold | CaptureHold | ReleaseHold | ChangeHold | Posting;

/** What an operation asks of the ledger, or how it is answered without. */
function readOne(services: Services, given: unknown, request: BatchRequest): Command | Item {
  const parsed = validate(operation, given, 'INVALID_REQUEST_BODY');
  if (!parsed.ok) return refused(parsed.refusal);
  try {
    const command = toCommand(parsed.value, request);
    if ('idempotencyKey' in command) request.guard.checkKey(command.idempotencyKey, command.customerId);
    const isBlind = !('op' in command) && isBlindRepeat(command, request.headers);
    return isBlind ? refused({ code: 'CONFLICT', message: REPEATED_BLINDLY }) : command;
  } catch (error) {
    return failed(services, error, request.merchantId);
  }
}

const isCommand = (read: Command | Item): read is Command => 'merchantId' in read;

function answerTo(
  command: Command,
  outcome: PromiseSettledResult<CommandResult> | undefined,
  { services, merchantId, guard }: Pick<BatchRequest, 'merchantId' | 'guard'> & { readonly services: Services },
): Item {
  invariant(outcome !== undefined, 'a command without an outcome');
  if (outcome.status === 'rejected') return failed(services, outcome.reason, merchantId);
  // All is committed by now: what cannot be shown of one must not hide the others.
  try {
    if (outcome.value.kind === 'created' && !('op' in command)) guard.notePosting(command);
    return itemOf(outcome.value);
  } catch (error) {
    return failed(services, error, merchantId);
  }
}

function failed(services: Services, error: unknown, merchantId: string): Item {
  return refused(
    error instanceof RefusalError ? publicRefusal(error.refusal) : refusalInBatch(error, services, merchantId),
  );
}

function toCommand(asked: Operation, { merchantId, spareKey }: BatchRequest): Command {
  const customerId = asked.customer_id;
  const key = 'idempotency_key' in asked ? (asked.idempotency_key ?? spareKey) : spareKey;
  switch (asked.op) {
    case 'debit': {
      const { op: _, customer_id: __, ...body } = asked;
      return toPosting(merchantId, customerId, { ...body, entry_type: 'debit', idempotency_key: key });
    }
    case 'place':
      return toPlace({ merchantId, customerId }, asked, key);
    case 'capture':
      return toCapture({ merchantId, customerId, holdId: asked.hold_id }, asked, key);
    case 'release':
      return toRelease({ merchantId, customerId, holdId: asked.hold_id }, asked);
    case 'change':
      return toChange({ merchantId, customerId, holdId: asked.hold_id }, asked);
  }
}

function itemOf(result: CommandResult): Item {
  if (result.kind === 'refused') return refused('hold' in result ? holdRefusal(result) : publicRefusal(result.refusal));
  // What most batches are full of, without the objects in between.
  if (result.kind === 'placed')
    return { status: 'done', hold: holdResponse(result.hold), wallet: walletResponse(result.wallet) };
  const wallet = result.wallet === null ? {} : { wallet: walletResponse(result.wallet) };
  const hold = 'hold' in result ? { hold: holdResponse(result.hold) } : {};
  const entry = 'entry' in result && result.entry !== null ? { entry: entryResponse(result.entry) } : {};
  const made = { ...hold, ...entry, ...wallet };
  if (result.kind === 'captured') return { status: 'done', ...made, uncaptured: result.uncaptured };
  if (result.kind === 'held_before')
    return { status: 'repeated', code: 'IDEMPOTENCY_KEY_EXISTS', message: HOLD_KEY_EXISTS, ...made };
  if (result.kind === 'repeated')
    return { status: 'repeated', code: 'IDEMPOTENCY_KEY_EXISTS', message: KEY_EXISTS, ...made };
  return { status: 'done', ...made };
}

function refused({ code, message, details }: PublicRefusal): Item {
  return { status: 'refused', code, message, ...details };
}

/** The schema of one operation, for the OpenAPI document; the batch validates each by itself. */
export const HOLD_OPERATION = operation;

export const holdBatchRoutes: readonly Route[] = [create];
