import { refuse } from '../errors.ts';
import type { Metadata } from '../ledger/entry.ts';
import {
  type CaptureHold,
  type ChangeHold,
  type HoldKey,
  type PlaceHold,
  parseHoldId,
  type ReleaseHold,
} from '../ledger/holds/hold.ts';
import { requestKey } from '../ledger/keys.ts';

/** Whose hold it is, and which. */
export interface HoldReference {
  readonly merchantId: string;
  readonly customerId: string;
  readonly holdId: string;
}

/** @throws {RefusalError} HOLD_NOT_FOUND for what is no id of a hold of the customer */
export function holdKeyOf({ merchantId, customerId, holdId }: HoldReference): HoldKey {
  const place = parseHoldId(holdId, customerId);
  return place === null ? refuse({ code: 'HOLD_NOT_FOUND' }) : { merchantId, customerId, ...place };
}

export interface PlaceRequest {
  readonly amount: number;
  readonly currency: string;
  readonly expires_in_seconds?: number | undefined;
  readonly partial?: boolean | undefined;
  readonly reason?: string | null | undefined;
  readonly reference_object_id?: string | null | undefined;
  readonly metadata?: Metadata | null | undefined;
}

const DEFAULT_LIFE_SECONDS = 900;
const WANTS_KEY = 'wants a key, in the body or the header, so that a repeated request does nothing twice';

/** The key of a request that wants one. @throws {RefusalError} INVALID_FIELD without a key */
export function requiredKey(key: string | null): string {
  return key === null ? refuse({ code: 'INVALID_FIELD', field: 'idempotency_key', wants: WANTS_KEY }) : requestKey(key);
}

/** @throws {RefusalError} INVALID_FIELD without a key */
export function toPlace(
  { merchantId, customerId }: Omit<HoldReference, 'holdId'>,
  body: PlaceRequest,
  key: string | null,
): PlaceHold {
  return {
    ...{ op: 'place', merchantId, customerId, currency: body.currency, amountMinor: body.amount },
    partial: body.partial ?? false,
    expiresInSeconds: body.expires_in_seconds ?? DEFAULT_LIFE_SECONDS,
    reason: body.reason ?? null,
    referenceObjectId: body.reference_object_id ?? null,
    metadata: body.metadata ?? null,
    idempotencyKey: requiredKey(key),
  };
}

export interface CaptureRequest {
  readonly amount?: number | undefined;
  readonly final?: boolean | undefined;
  readonly beyond?: CaptureHold['beyond'] | undefined;
  readonly late?: CaptureHold['late'] | undefined;
  readonly reason?: string | null | undefined;
  readonly metadata?: Metadata | null | undefined;
}

/**
 * A final capture needs no key, since a second one finds the hold closed.
 * @throws {RefusalError} HOLD_NOT_FOUND, INVALID_FIELD
 */
export function toCapture(hold: HoldReference, body: CaptureRequest, key: string | null): CaptureHold {
  const isFinal = body.final ?? true;
  const late = body.late ?? 'refuse';
  if (key === null && (!isFinal || late === 'debit')) {
    refuse({ code: 'INVALID_FIELD', field: 'idempotency_key', wants: WANTS_KEY });
  }
  if (body.amount === 0 && !isFinal) {
    refuse({ code: 'INVALID_FIELD', field: 'amount', wants: 'wants 1 or more, unless the capture is final' });
  }
  return {
    ...{ op: 'capture', ...holdKeyOf(hold), amountMinor: body.amount ?? null, isFinal, late },
    beyond: body.beyond ?? 'refuse',
    reason: body.reason ?? null,
    metadata: body.metadata ?? null,
    idempotencyKey: key === null ? null : requestKey(key),
  };
}

/** @throws {RefusalError} HOLD_NOT_FOUND */
export function toRelease(hold: HoldReference, body: { readonly reason?: string | null | undefined }): ReleaseHold {
  return { op: 'release', ...holdKeyOf(hold), reason: body.reason ?? null };
}

export interface ChangeRequest {
  readonly amount?: number | undefined;
  readonly expires_in_seconds?: number | undefined;
}

/** @throws {RefusalError} HOLD_NOT_FOUND, INVALID_FIELD if it asks for nothing */
export function toChange(hold: HoldReference, { amount, expires_in_seconds: seconds }: ChangeRequest): ChangeHold {
  if (amount === undefined && seconds === undefined) {
    refuse({ code: 'INVALID_FIELD', field: 'amount', wants: 'wants a value, or expires_in_seconds does' });
  }
  return { op: 'change', ...holdKeyOf(hold), amountMinor: amount ?? null, expiresInSeconds: seconds ?? null };
}
