import { refuse } from '../errors.ts';
import type { LotTerms } from '../ledger/entry.ts';
import { BASE_PRIORITY, type ChangeLot, type LotKey, parseLotId, type VoidLot } from '../ledger/lots/lot.ts';
import { requiredKey } from './hold-requests.ts';

/** Whose lot it is, and which. */
export interface LotReference {
  readonly merchantId: string;
  readonly customerId: string;
  readonly lotId: string;
}

/** @throws {RefusalError} LOT_NOT_FOUND for what is no id of a lot of the customer */
export function lotKeyOf({ merchantId, customerId, lotId }: LotReference): LotKey {
  const place = parseLotId(lotId, customerId);
  return place === null ? refuse({ code: 'LOT_NOT_FOUND' }) : { merchantId, customerId, ...place };
}

/** The terms of a credit, as a request names them. */
export interface TermsRequest {
  readonly entry_type: 'credit' | 'debit';
  readonly kind?: LotTerms['kind'] | undefined;
  readonly expires_at?: Date | undefined;
  readonly expires_in_days?: number | undefined;
  readonly priority?: number | undefined;
  readonly name?: string | undefined;
}

/**
 * Undefined for credit without terms, which joins the base.
 * @throws {RefusalError} INVALID_FIELD
 */
export function toTerms(request: TermsRequest): LotTerms | undefined {
  const { entry_type, kind, expires_at: at, expires_in_days: days, priority = BASE_PRIORITY, name } = request;
  const given = [
    ['kind', kind],
    ['expires_at', at],
    ['expires_in_days', days],
    ['priority', request.priority],
    ['name', name],
  ] as const;
  const first = given.find(([, value]) => value !== undefined)?.[0];
  if (first === undefined) return undefined;
  if (entry_type === 'debit') return refuseField(first, 'wants a credit; a debit has no terms');
  if (at !== undefined && days !== undefined) return refuseField('expires_in_days', 'wants no expires_at beside it');
  const hasTerms = kind === 'promo' || at !== undefined || days !== undefined || priority !== BASE_PRIORITY;
  if (!hasTerms && first === 'priority') return undefined;
  if (!hasTerms) return refuseField(first, 'wants an end or a priority beside it: other credit is all one');
  const end = at !== undefined ? { at } : days !== undefined ? { days } : null;
  return { kind: kind ?? 'adjustment', name: name ?? null, priority, end };
}

function refuseField(field: string, wants: string): never {
  return refuse({ code: 'INVALID_FIELD', field, wants });
}

export interface VoidRequest {
  readonly amount?: number | undefined;
  readonly reason: string;
}

/** @throws {RefusalError} LOT_NOT_FOUND, INVALID_FIELD without a key */
export function toVoid(lot: LotReference, { amount, reason }: VoidRequest, key: string | null): VoidLot {
  return { op: 'void_lot', ...lotKeyOf(lot), amountMinor: amount ?? null, reason, idempotencyKey: requiredKey(key) };
}

export interface ChangeLotRequest {
  readonly expires_at?: Date | null | undefined;
  readonly priority?: number | undefined;
  readonly reason: string;
}

/** @throws {RefusalError} LOT_NOT_FOUND, INVALID_FIELD if it asks for nothing */
export function toLotChange(lot: LotReference, request: ChangeLotRequest, actor: string): ChangeLot {
  const { expires_at: at, priority, reason } = request;
  if (at === undefined && priority === undefined) return refuseField('expires_at', 'wants a value, or priority does');
  const end = at === undefined ? null : { at };
  return { op: 'change_lot', ...lotKeyOf(lot), end, priority: priority ?? null, reason, actor };
}
