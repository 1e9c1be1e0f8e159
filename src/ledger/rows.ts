import type { Entry, EventType, Metadata, Wallet } from './entry.ts';

/** The ledger's rows as Postgres returns them, and what they become. `bigint` arrives as a number (see `db/pool.ts`). */

export interface WalletRow {
  merchant_id: string;
  customer_id: string;
  currency: string;
  balance: number;
  version: number;
  alerts_armed: boolean;
  low_threshold: number | null;
  low_since: Date | null;
  depleted_since: Date | null;
  low_alerted_at: Date | null;
  alert_seq: number;
  created_at: Date;
  updated_at: Date;
}

export interface EntryRow {
  merchant_id: string;
  customer_id: string;
  currency: string;
  seq: number;
  amount: number;
  is_credit: boolean;
  event_type: EventType;
  before_balance: number;
  after_balance: number;
  reason: string | null;
  reference_object_id: string | null;
  metadata: Metadata | null;
  idempotency_key: string | null;
  fingerprint: Buffer | null;
  created_at: Date;
}

export const WALLET_COLUMNS = `w.merchant_id, w.customer_id, w.currency, w.balance, w.version, w.alerts_armed, w.low_threshold,
  w.low_since, w.depleted_since, w.low_alerted_at, w.alert_seq, w.created_at, w.updated_at`;

export const ENTRY_COLUMNS = `e.merchant_id, e.customer_id, e.currency, e.seq, e.amount, e.is_credit, e.event_type,
  e.before_balance, e.after_balance, e.reason, e.reference_object_id, e.metadata, e.idempotency_key, e.fingerprint, e.created_at`;

export function toWallet(row: WalletRow): Wallet {
  return {
    merchantId: row.merchant_id,
    customerId: row.customer_id,
    currency: row.currency,
    balance: row.balance,
    version: row.version,
    alertsArmed: row.alerts_armed,
    lowThreshold: row.low_threshold,
    lowSince: row.low_since,
    depletedSince: row.depleted_since,
    lowAlertedAt: row.low_alerted_at,
    alertSeq: row.alert_seq,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export function toEntry(row: EntryRow): Entry {
  return {
    merchantId: row.merchant_id,
    customerId: row.customer_id,
    currency: row.currency,
    seq: row.seq,
    amountMinor: row.amount,
    isCredit: row.is_credit,
    eventType: row.event_type,
    beforeBalance: row.before_balance,
    afterBalance: row.after_balance,
    reason: row.reason,
    referenceObjectId: row.reference_object_id,
    metadata: row.metadata,
    idempotencyKey: row.idempotency_key,
    fingerprint: row.fingerprint?.toString('hex') ?? null,
    createdAt: row.created_at,
  };
}
