import type { Metadata, Posting } from '../ledger/entry.ts';
import { requestKey } from '../ledger/keys.ts';
import { type TermsRequest, toTerms } from './lot-requests.ts';

/** What a caller of the API or of the command line asks for, with the API's names. */
export interface PostingRequest extends TermsRequest {
  /** Minor units, positive. */
  readonly amount: number;
  readonly currency: string;
  readonly reason?: string | null | undefined;
  readonly idempotency_key?: string | null | undefined;
  readonly metadata?: Metadata | null | undefined;
  readonly reference_object_id?: string | null | undefined;
  /** A date of account. */
  readonly effective_at?: Date | undefined;
}

/**
 * Makes a posting to the ledger from a request's body; `amount` is in minor units.
 * @throws {RefusalError} INVALID_FIELD for terms that contradict each other
 */
export function toPosting(merchantId: string, customerId: string, body: PostingRequest): Posting {
  const terms = toTerms(body);
  return {
    ...(terms === undefined ? {} : { terms }),
    ...(body.effective_at === undefined ? {} : { effectiveAt: body.effective_at }),
    merchantId,
    customerId,
    currency: body.currency,
    amountMinor: body.amount,
    isCredit: body.entry_type === 'credit',
    eventType: 'merchant_adjustment',
    reason: body.reason ?? null,
    referenceObjectId: body.reference_object_id ?? null,
    metadata: body.metadata ?? null,
    idempotencyKey: body.idempotency_key == null ? null : requestKey(body.idempotency_key),
  };
}
