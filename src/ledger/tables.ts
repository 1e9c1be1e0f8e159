import { bigint, boolean, hex, json, named, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { columns, matches, pick, table } from '../db/table.ts';
import type { EventType, Metadata, WalletAlert } from './entry.ts';

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
  createdAt: timestamptz,
  updatedAt: timestamptz,
});

/** What names a wallet. */
export const WALLET_KEY = pick(WALLET.shape, 'merchantId', 'customerId', 'currency');
/** What names a wallet of a merchant. */
export const OWN_KEY = pick(WALLET.shape, 'customerId', 'currency');

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
  hash: nullable(hex),
});

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
});
