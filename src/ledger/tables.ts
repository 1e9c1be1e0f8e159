import { bigint, boolean, hex, integer, json, named, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { columns, matches, omit, pick, table } from '../db/table.ts';
import type { EventType, Metadata, WalletAlert, WalletStatus } from './entry.ts';
import type { Hold } from './holds/hold.ts';
import type { Lot } from './lots/lot.ts';

/** The ledger's tables, under the names of entry.ts: a row of each is the thing itself. */

const key = { merchantId: text, customerId: text, currency: text };

export const WALLET = table('wallet', {
  ...key,
  balance: bigint,
  version: bigint,
  alertsArmed: boolean,
  lowThreshold: nullable(bigint),
  lowSince: nullable(timestamptz),
  depletedSince: nullable(timestamptz),
  lowAlertedAt: nullable(timestamptz),
  depletedAlertedAt: nullable(timestamptz),
  alertSeq: bigint,
  head: nullable(hex),
  headVersion: bigint,
  held: bigint,
  openHolds: integer,
  holdSeq: bigint,
  dueAt: nullable(timestamptz),
  inLots: bigint,
  openLots: integer,
  lotSeq: bigint,
  status: oneOf<WalletStatus>(),
  topUpBelow: named('topup_below', nullable(bigint)),
  createdAt: timestamptz,
  updatedAt: timestamptz,
});

/** What names a wallet. */
export const WALLET_KEY = pick(WALLET.shape, 'merchantId', 'customerId', 'currency');
/** What names a wallet of a merchant. */
export const OWN_KEY = pick(WALLET.shape, 'customerId', 'currency');

/** What postings change. */
export const MOVED = pick(
  WALLET.shape,
  'balance',
  'version',
  'alertsArmed',
  'lowSince',
  'depletedSince',
  'lowAlertedAt',
  'depletedAlertedAt',
  'alertSeq',
  'head',
  'headVersion',
  'updatedAt',
);

export const ENTRY = table('entry', {
  ...key,
  seq: bigint,
  amountMinor: named('amount', bigint),
  isCredit: boolean,
  eventType: oneOf<EventType>(),
  beforeBalance: bigint,
  afterBalance: bigint,
  reason: nullable(text),
  referenceObjectId: nullable(text),
  metadata: nullable(json<Metadata>()),
  idempotencyKey: nullable(text),
  fingerprint: nullable(hex),
  createdAt: timestamptz,
  effectiveAt: nullable(timestamptz),
  hash: nullable(hex),
});

/** An entry of a merchant. */
export const OWN_ENTRY = omit(ENTRY.shape, 'merchantId');

/** An entry with the hashes of those of its texts that were struck out, which its chain is computed with. */
export const CHAINED_ENTRY = { ...ENTRY.shape, reasonHash: nullable(hex), metadataHash: nullable(hex) };

/** SQL for what a SELECT of {@link CHAINED_ENTRY} names, from entries under an alias. */
export const chainedEntries = (alias: string) => `
  ${columns(ENTRY.shape, alias)}, struck.reason_hash, struck.metadata_hash
  from entry ${alias}
  left join lateral (
    select r.reason_hash, r.metadata_hash from erasure r where ${matches(key, 'r', alias)} and r.seq = ${alias}.seq offset 0) struck on true`;

export const WALLET_ALERT = table('wallet_alert', {
  ...key,
  alertSeq: bigint,
  kind: oneOf<WalletAlert['kind']>(),
  reminder: boolean,
  balance: bigint,
  threshold: nullable(bigint),
  version: bigint,
  createdAt: timestamptz,
  details: nullable(json<NonNullable<WalletAlert['details']>>()),
});

/** Open holds. Closed ones move to {@link CLOSED_HOLD}, so that no index names a column that changes. */
export const HOLD = table('hold', {
  ...key,
  holdNo: bigint,
  kind: oneOf<Hold['kind']>(),
  amountMinor: named('amount', bigint),
  captured: bigint,
  expiresAt: nullable(timestamptz),
  reason: nullable(text),
  referenceObjectId: nullable(text),
  metadata: nullable(json<Metadata>()),
  idempotencyKey: text,
  fingerprint: hex,
  createdAt: timestamptz,
});

export const CLOSED_HOLD = table('closed_hold', {
  ...HOLD.shape,
  state: oneOf<Hold['state']>(),
  released: bigint,
  releaseReason: nullable(text),
  closedAt: timestamptz,
});

/** Which entry captured how much of which hold. */
export const HOLD_CAPTURE = table('hold_capture', {
  ...key,
  seq: bigint,
  holdNo: bigint,
  fromHold: bigint,
  beyond: bigint,
});

/** Open lots. Closed ones move to {@link CLOSED_LOT}. */
export const LOT = table('lot', {
  ...key,
  lotNo: bigint,
  kind: oneOf<Lot['kind']>(),
  name: nullable(text),
  priority: integer,
  amountMinor: named('amount', bigint),
  remaining: bigint,
  spent: bigint,
  expired: bigint,
  voided: bigint,
  takenBack: bigint,
  expiresAt: nullable(timestamptz),
  notices: integer,
  originSeq: bigint,
  originKey: nullable(text),
  changes: integer,
  createdAt: timestamptz,
});

export const CLOSED_LOT = table('closed_lot', {
  ...omit(LOT.shape, 'remaining'),
  state: oneOf<Lot['state']>(),
  closedAt: timestamptz,
});

/** Which entry put how much into which lot, or took it out. */
export const LOT_MOVEMENT = table('lot_movement', {
  ...key,
  seq: bigint,
  lotNo: bigint,
  amountMinor: named('amount', bigint),
});

export const LOT_CHANGE = table('lot_change', {
  ...key,
  lotNo: bigint,
  changeNo: integer,
  actor: text,
  reason: nullable(text),
  oldExpiresAt: nullable(timestamptz),
  newExpiresAt: nullable(timestamptz),
  oldPriority: integer,
  newPriority: integer,
  createdAt: timestamptz,
});

/** How the status of a wallet was changed, the last change being the one in force. */
export const WALLET_STATUS_CHANGE = table('wallet_status_change', {
  ...key,
  changeNo: bigint,
  oldStatus: oneOf<WalletStatus>(),
  newStatus: oneOf<WalletStatus>(),
  pauseExpiry: boolean,
  actor: text,
  reason: nullable(text),
  createdAt: timestamptz,
});

/** The work list of wallets in which something ends. Its time is never later than the wallet's own. */
export const WALLET_DUE = table('wallet_due', { ...key, dueAt: timestamptz });

/** The work list of wallets that are to be filled up, or looked at for that (src/top-ups). */
export const TOPUP_DUE = table('topup_due', {
  ...key,
  since: timestamptz,
  retryAt: timestamptz,
  wokenAt: nullable(timestamptz),
});
