import { hash } from 'node:crypto';
import type { SourceSettings } from '../config/provider-env.ts';
import { Secret } from '../crypto/secret.ts';
import { hintOf, type SecretBox } from '../crypto/secret-box.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { type Refusal, refusal } from '../errors.ts';
import { newId } from '../ids.ts';
import { PROVIDER_NAMES, type ProviderName } from '../providers/shared/names.ts';
import type { Source } from './source.ts';

/** Provider accounts in the database, with their secrets encrypted. */

export interface SourceInput
  extends Pick<SourceSettings, 'defaultPurpose' | 'metadata' | 'refunds' | 'customerLinkRule'> {
  readonly name: string;
  readonly enabled: boolean;
}

export type SecretPurpose = 'webhook' | 'api';

/** What may be shown of a secret. */
export interface SecretRecord {
  readonly secretId: string;
  readonly purpose: SecretPurpose;
  readonly hint: string;
  readonly createdAt: Date;
}

/** A source as its merchant's operators see it. */
export interface SourceRecord extends SourceInput {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly provider: ProviderName;
  readonly mode: 'test' | 'live';
  /** Newest first. */
  readonly secrets: readonly SecretRecord[];
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface SourceKey {
  readonly merchantId: string;
  readonly sourceId: string;
}

/** The most webhook secrets a source has at once: each is tried at every forgery. */
const MAX_WEBHOOK_SECRETS = 5;

/** A sealed secret opens only as what it was stored as. */
export function secretPlace({ merchantId, sourceId }: SourceKey, purpose: SecretPurpose): string {
  return `source ${merchantId} ${sourceId} ${purpose}`;
}

/** Stores a new source of an existing merchant, in the merchant's mode. */
export async function insertSource(
  tx: Tx,
  merchantId: string,
  provider: ProviderName,
  input: SourceInput,
  now: Date,
): Promise<SourceKey> {
  const sourceId = newId('source');
  await tx.query(
    `insert into source (merchant_id, source_id, provider, name, mode, default_purpose, metadata, refunds, customer_link_rule,
       enabled, created_at, updated_at)
     select merchant_id, $2, $3, $4, mode, $5, $6, $7, $8, $9, $10, $10 from merchant where merchant_id = $1`,
    [merchantId, sourceId, provider, ...columnsOf(input), now.toISOString()],
  );
  return { merchantId, sourceId };
}

export async function updateSource(tx: Tx, key: SourceKey, input: SourceInput, now: Date): Promise<void> {
  await tx.query(
    `update source set name = $3, default_purpose = $4, metadata = $5, refunds = $6, customer_link_rule = $7, enabled = $8,
       updated_at = $9
     where merchant_id = $1 and source_id = $2`,
    [key.merchantId, key.sourceId, ...columnsOf(input), now.toISOString()],
  );
}

function columnsOf({ name, defaultPurpose, metadata, refunds, customerLinkRule, enabled }: SourceInput): unknown[] {
  return [name, defaultPurpose, metadata, refunds, customerLinkRule, enabled];
}

/** The merchant's sources, oldest first; or the one of `sourceId`, locked. */
export async function selectSourceRecords(
  db: Queryable,
  merchantId: string,
  sourceId: string | null = null,
  lock: '' | 'for update' = '',
): Promise<readonly SourceRecord[]> {
  const { rows } = await db.query<SourceRow>(
    `select ${COLUMNS} from source s where merchant_id = $1 and ($2::text is null or source_id = $2)
     order by created_at, source_id ${lock}`,
    [merchantId, sourceId],
  );
  const { rows: secrets } = await db.query<SecretRow>(
    `select source_id, secret_id, purpose, sealed, hint, created_at from source_secret
     where merchant_id = $1 and source_id = any ($2) order by created_at desc, secret_id desc`,
    [merchantId, rows.map((row) => row.source_id)],
  );
  return rows.map((row) => ({
    ...settingsOf(row),
    merchantId: row.merchant_id,
    sourceId: row.source_id,
    mode: row.mode,
    name: row.name,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    secrets: secrets
      .filter((secret) => secret.source_id === row.source_id)
      .map(({ secret_id, purpose, hint, created_at }) => ({
        secretId: secret_id,
        purpose,
        hint,
        createdAt: created_at,
      })),
  }));
}

/** Two sources of one account would each credit all of its payments. */
export const SAME_ACCOUNT =
  'Another source has this API key. Two sources of one provider account would credit its payments twice.';

/** Adds a webhook secret, which becomes the newest, or replaces the API key. The source must be locked. */
export async function storeSecret(
  tx: Tx,
  box: SecretBox,
  key: SourceKey,
  purpose: SecretPurpose,
  secret: Secret,
  now: Date,
): Promise<Refusal | null> {
  const { merchantId, sourceId } = key;
  if (purpose === 'api') await deleteSecrets(tx, key, 'api', null);
  const { rowCount } = await tx.query(
    `insert into source_secret (merchant_id, source_id, secret_id, purpose, sealed, hint, created_at, fingerprint)
     select $1, $2, $3, $4, $5, $6, $7, $9
     where $4 = 'api' or (select count(*) from source_secret where merchant_id = $1 and source_id = $2 and purpose = 'webhook') < $8
     on conflict (fingerprint) where fingerprint is not null do nothing`,
    [
      merchantId,
      sourceId,
      newId('sourceSecret'),
      purpose,
      box.seal(secret.reveal(), secretPlace(key, purpose)),
      hintOf(secret.reveal()),
      now.toISOString(),
      MAX_WEBHOOK_SECRETS,
      purpose === 'api' ? hash('sha256', secret.reveal(), 'buffer') : null,
    ],
  );
  if (rowCount === 1) return null;
  if (purpose === 'api') return refusal('CONFLICT', SAME_ACCOUNT);
  return refusal('CONFLICT', `The source has ${MAX_WEBHOOK_SECRETS} webhook secrets already. Remove an old one first.`);
}

/** Removes one secret of the source, or all of a purpose. @returns how many */
export async function deleteSecrets(
  tx: Tx,
  { merchantId, sourceId }: SourceKey,
  purpose: SecretPurpose,
  secretId: string | null,
): Promise<number> {
  const { rowCount } = await tx.query(
    `delete from source_secret
     where merchant_id = $1 and source_id = $2 and purpose = $3 and ($4::text is null or secret_id = $4)`,
    [merchantId, sourceId, purpose, secretId],
  );
  return rowCount ?? 0;
}

/** The source as events are handled by it. */
export async function selectSource(db: Queryable, box: SecretBox, sourceId: string): Promise<Source | null> {
  const { rows } = await db.query<SourceRow & SecretsColumn>(
    { name: 'select-source', text: `select ${COLUMNS}, ${SECRETS} from source s where source_id = $1` },
    [sourceId],
  );
  return rows[0] === undefined ? null : toSource(rows[0], box);
}

/** Enabled sources with an API key, of every merchant, a suspended one too: its customers did pay. */
export async function selectSourcesWithApi(db: Queryable, box: SecretBox): Promise<readonly Source[]> {
  const { rows } = await db.query<SourceRow & SecretsColumn>(
    `select ${COLUMNS}, ${SECRETS} from source s
     where enabled
       and exists (select from source_secret k where k.merchant_id = s.merchant_id and k.source_id = s.source_id and k.purpose = 'api')
     order by merchant_id, source_id`,
  );
  return rows.map((row) => toSource(row, box));
}

/** Which sources of these providers obey all metadata, of every merchant, disabled ones too: the first `limit`, and how many in all. */
export async function selectSourcesObeyingAll(
  db: Queryable,
  providers: readonly ProviderName[],
  limit: number,
): Promise<{ readonly keys: readonly SourceKey[]; readonly total: number }> {
  const { rows } = await db.query<{ merchant_id: string; source_id: string; total: number }>(
    `select merchant_id, source_id, count(*) over () as total from source
     where metadata = 'all' and provider = any ($1) order by merchant_id, source_id limit $2`,
    [providers, limit],
  );
  return {
    keys: rows.map((row) => ({ merchantId: row.merchant_id, sourceId: row.source_id })),
    total: rows[0]?.total ?? 0,
  };
}

const COLUMNS = `s.merchant_id, s.source_id, s.provider, s.name, s.mode, s.default_purpose, s.metadata, s.refunds, s.customer_link_rule,
  s.enabled, s.created_at, s.updated_at`;
const SECRETS = `(
  select coalesce(jsonb_agg(jsonb_build_object('purpose', k.purpose, 'sealed', k.sealed) order by k.created_at desc, k.secret_id desc), '[]')
  from source_secret k where k.merchant_id = s.merchant_id and k.source_id = s.source_id) as secrets`;

interface SourceRow {
  merchant_id: string;
  source_id: string;
  provider: string;
  name: string;
  mode: 'test' | 'live';
  default_purpose: SourceInput['defaultPurpose'];
  metadata: SourceInput['metadata'];
  refunds: SourceInput['refunds'];
  customer_link_rule: SourceInput['customerLinkRule'];
  enabled: boolean;
  created_at: Date;
  updated_at: Date;
}

interface SecretsColumn {
  secrets: { purpose: SecretPurpose; sealed: string }[];
}

interface SecretRow {
  source_id: string;
  secret_id: string;
  purpose: SecretPurpose;
  sealed: string;
  hint: string;
  created_at: Date;
}

function settingsOf(row: SourceRow) {
  return {
    provider: knownProvider(row.provider),
    defaultPurpose: row.default_purpose,
    metadata: row.metadata,
    refunds: row.refunds,
    customerLinkRule: row.customer_link_rule,
    enabled: row.enabled,
  };
}

function knownProvider(name: string): ProviderName {
  const provider = PROVIDER_NAMES.find((one) => one === name);
  if (provider === undefined)
    throw new Error(`the database names the provider ${name}, which this version does not know`);
  return provider;
}

function toSource(row: SourceRow & SecretsColumn, box: SecretBox): Source {
  const key = { merchantId: row.merchant_id, sourceId: row.source_id };
  const opened = (purpose: SecretPurpose) =>
    row.secrets
      .filter((secret) => secret.purpose === purpose)
      .map((secret) => new Secret(box.open(secret.sealed, secretPlace(key, purpose))));
  return {
    ...settingsOf(row),
    ...key,
    mode: row.mode,
    // Opened by whoever asks: what was received is applied also while the key is away, and a webhook needs no API key.
    get secrets() {
      return opened('webhook');
    },
    get apiKey() {
      return opened('api')[0] ?? null;
    },
  };
}
