import type { SourceSettings } from '../config/provider-env.ts';
import { type SecretBox, secretsAmong, UnreadableSecretError } from '../crypto/secret-box.ts';
import { array, bigint, boolean, json, oneOf, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, pick, type Row, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { newId } from '../ids.ts';
import { PROVIDER_NAMES, type ProviderName } from '../providers/shared/names.ts';
import { accountsBySource } from './account-store.ts';
import type { Source, SourceKey } from './source.ts';

/** Provider accounts in the database, with their secrets encrypted. */

export interface SourceInput
  extends Pick<
    SourceSettings,
    'defaultPurpose' | 'metadata' | 'refunds' | 'disputes' | 'customerLinkRule' | 'capture'
  > {
  readonly name: string;
  readonly enabled: boolean;
}

export type SecretPurpose = 'webhook' | 'api' | 'charge';

/** What may be shown of a secret. */
interface SecretRecord {
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
  /** The accounts at the provider that it answers for, as far as known. */
  readonly accounts: readonly string[];
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Where a secret belongs. It is bound into the encryption, so that the secret cannot be decrypted in another place. */
export function secretPlace({ merchantId, sourceId }: SourceKey, purpose: SecretPurpose): string {
  return `source ${merchantId} ${sourceId} ${purpose}`;
}

/** Stores a new source of an existing merchant, in the merchant's mode. */
export async function insertSource(
  tx: Tx,
  source: SourceInput & Pick<SourceRecord, 'merchantId' | 'provider'>,
  now: Date,
): Promise<SourceKey> {
  const { merchantId } = source;
  const sourceId = newId('source');
  await INSERT_SOURCE.run(tx, { ...source, sourceId, now });
  return { merchantId, sourceId };
}

const SOURCE = table('source', {
  merchantId: text,
  sourceId: text,
  provider: text,
  name: text,
  mode: oneOf<'test' | 'live'>(),
  defaultPurpose: oneOf<SourceInput['defaultPurpose']>(),
  metadata: oneOf<SourceInput['metadata']>(),
  refunds: oneOf<SourceInput['refunds']>(),
  disputes: oneOf<SourceInput['disputes']>(),
  customerLinkRule: oneOf<SourceInput['customerLinkRule']>(),
  capture: oneOf<SourceInput['capture']>(),
  enabled: boolean,
  createdAt: timestamptz,
  updatedAt: timestamptz,
});
const INPUT = pick(
  SOURCE.shape,
  'name',
  'defaultPurpose',
  'metadata',
  'refunds',
  'disputes',
  'customerLinkRule',
  'capture',
  'enabled',
);

const INSERT_SOURCE = statement({
  params: { merchantId: text, sourceId: text, provider: text, ...INPUT, now: timestamptz },
  text: (p) => `
    insert into source (merchant_id, source_id, provider, mode, ${columns(INPUT)}, created_at, updated_at)
    select merchant_id, ${p.sourceId}, ${p.provider}, mode, ${p.name}, ${p.defaultPurpose}, ${p.metadata}, ${p.refunds},
      ${p.disputes}, ${p.customerLinkRule}, ${p.capture}, ${p.enabled}, ${p.now}, ${p.now}
    from merchant where merchant_id = ${p.merchantId}`,
});

export async function updateSource(tx: Tx, source: SourceKey & SourceInput, now: Date): Promise<void> {
  await UPDATE_SOURCE.run(tx, { ...source, now });
}

const UPDATE_SOURCE = statement({
  params: { merchantId: text, sourceId: text, ...INPUT, now: timestamptz },
  text: (p) => `
    update source
    set name = ${p.name}, default_purpose = ${p.defaultPurpose}, metadata = ${p.metadata}, refunds = ${p.refunds},
      disputes = ${p.disputes},
      customer_link_rule = ${p.customerLinkRule}, capture = ${p.capture}, enabled = ${p.enabled}, updated_at = ${p.now}
    where merchant_id = ${p.merchantId} and source_id = ${p.sourceId}`,
});

/** The merchant's sources, oldest first. @throws {Error} if the database names a provider that this version does not know */
export async function selectSourceRecords(db: Queryable, merchantId: string): Promise<readonly SourceRecord[]> {
  return toRecords(db, merchantId, await SELECT_SOURCES.all(db, { merchantId }));
}

/**
 * One source, locked until the transaction ends if wanted; null if there is none.
 * @throws {Error} if the database names a provider that this version does not know
 */
export async function selectSourceRecord(
  db: Queryable,
  { merchantId, sourceId }: SourceKey,
  lock: '' | 'for update' = '',
): Promise<SourceRecord | null> {
  const found = await SELECT_SOURCE_RECORD[lock].all(db, { merchantId, sourceId });
  return (await toRecords(db, merchantId, found))[0] ?? null;
}

/** The sources of a merchant as rows, with their secrets and accounts. */
async function toRecords(
  db: Queryable,
  merchantId: string,
  sources: readonly Row<typeof SOURCE.shape>[],
): Promise<readonly SourceRecord[]> {
  const secrets = await SELECT_SECRETS.all(db, { merchantId, sourceIds: sources.map((source) => source.sourceId) });
  const accounts = await accountsBySource(db, merchantId);
  return sources.map((source) => ({
    ...source,
    accounts: accounts.get(source.sourceId) ?? [],
    provider: knownProvider(source.provider),
    secrets: secrets
      .filter((secret) => secret.sourceId === source.sourceId)
      .map(({ secretId, purpose, hint, createdAt }) => ({ secretId, purpose, hint, createdAt })),
  }));
}

const SELECT_SOURCES = statement({
  params: { merchantId: text },
  row: SOURCE.shape,
  text: ({ merchantId }) => `
    select ${columns(SOURCE.shape)} from source where merchant_id = ${merchantId} order by created_at, source_id`,
});

const selectRecord = (lock: '' | 'for update') =>
  statement({
    params: { merchantId: text, sourceId: text },
    row: SOURCE.shape,
    text: ({ merchantId, sourceId }) => `
      select ${columns(SOURCE.shape)} from source
      where merchant_id = ${merchantId} and source_id = ${sourceId} ${lock}`,
  });
const SELECT_SOURCE_RECORD = { '': selectRecord(''), 'for update': selectRecord('for update') };

export const SOURCE_SECRET = table('source_secret', {
  merchantId: text,
  sourceId: text,
  secretId: text,
  purpose: oneOf<SecretPurpose>(),
  sealed: text,
  hint: text,
  createdAt: timestamptz,
});

const SELECT_SECRETS = statement({
  params: { merchantId: text, sourceIds: array(text) },
  row: SOURCE_SECRET.shape,
  text: ({ merchantId, sourceIds }) => `
    select ${columns(SOURCE_SECRET.shape)} from source_secret
    where merchant_id = ${merchantId} and source_id = any (${sourceIds}) order by created_at desc, secret_id desc`,
});

const SOURCE_WITH_SECRETS = {
  ...SOURCE.shape,
  secrets: json<readonly { readonly purpose: SecretPurpose; readonly sealed: string }[]>(),
};
const SECRETS = `(
  select coalesce(jsonb_agg(jsonb_build_object('purpose', k.purpose, 'sealed', k.sealed) order by k.created_at desc, k.secret_id desc), '[]')
  from source_secret k where k.merchant_id = s.merchant_id and k.source_id = s.source_id) as secrets`;

/**
 * The source as events are handled by it; null if there is none.
 * @throws {Error} if the database names a provider that this version does not know
 */
export async function selectSource(db: Queryable, box: SecretBox, sourceId: string): Promise<Source | null> {
  const found = await SELECT_SOURCE.first(db, { sourceId });
  return found === null ? null : toSource(found, box);
}

const SELECT_SOURCE = statement({
  name: 'select-source',
  acrossMerchants: "a webhook's address names the source alone",
  params: { sourceId: text },
  row: SOURCE_WITH_SECRETS,
  text: ({ sourceId }) =>
    `select ${columns(SOURCE.shape, 's')}, ${SECRETS} from source s where source_id = ${sourceId}`,
});

/** Enabled sources with an API key, of every merchant, a suspended one too: its customers did pay. */
export async function selectSourcesWithApi(db: Queryable, box: SecretBox): Promise<readonly Source[]> {
  return (await SELECT_WITH_API.all(db)).map((source) => toSource(source, box));
}

const SELECT_WITH_API = statement({
  acrossMerchants: 'the schedule compares all of them',
  params: {},
  row: SOURCE_WITH_SECRETS,
  text: () => `
    select ${columns(SOURCE.shape, 's')}, ${SECRETS} from source s
    where enabled
      and exists (select from source_secret k where k.merchant_id = s.merchant_id and k.source_id = s.source_id and k.purpose = 'api')
    order by merchant_id, source_id`,
});

/** Which sources of these providers obey all metadata, of every merchant, disabled ones too: the first `limit`, and how many in all. */
export async function selectSourcesObeyingAll(
  db: Queryable,
  providers: readonly ProviderName[],
  limit: number,
): Promise<{ readonly keys: readonly SourceKey[]; readonly total: number }> {
  const found = await SELECT_OBEYING_ALL.all(db, { providers, limit });
  return { keys: found.map(({ merchantId, sourceId }) => ({ merchantId, sourceId })), total: found[0]?.total ?? 0 };
}

const SELECT_OBEYING_ALL = statement({
  acrossMerchants: 'a warning to the operator',
  params: { providers: array(text), limit: bigint },
  row: { merchantId: text, sourceId: text, total: bigint },
  text: ({ providers, limit }) => `
    select merchant_id, source_id, count(*) over () as total from source
    where metadata = 'all' and provider = any (${providers}) order by merchant_id, source_id limit ${limit}`,
});

function knownProvider(name: string): ProviderName {
  const provider = PROVIDER_NAMES.find((one) => one === name);
  if (provider === undefined)
    throw new Error(
      `A source of the database is of the provider ${name}, which this release does not know. Run the release that made it, or a newer one.`,
    );
  return provider;
}

function toSource(found: Row<typeof SOURCE_WITH_SECRETS>, box: SecretBox): Source {
  const {
    merchantId,
    sourceId,
    mode,
    defaultPurpose,
    metadata,
    refunds,
    disputes,
    customerLinkRule,
    capture,
    enabled,
  } = found;
  const key = { merchantId, sourceId };
  const open = (purpose: SecretPurpose) =>
    found.secrets
      .filter((secret) => secret.purpose === purpose)
      .map(({ sealed }) => box.tryToOpen(sealed, secretPlace(key, purpose)));
  return {
    ...key,
    provider: knownProvider(found.provider),
    mode,
    defaultPurpose,
    metadata,
    refunds,
    disputes,
    customerLinkRule,
    capture,
    enabled,
    // Decrypted only when asked for: events are applied also while the encryption key is missing, and a webhook needs no API key.
    get secrets() {
      return secretsAmong(open('webhook'));
    },
    get unreadableSecrets() {
      return open('webhook').filter((one) => one instanceof UnreadableSecretError).length;
    },
    get apiKey() {
      return secretsAmong(open('api'))[0] ?? null;
    },
    get chargeKey() {
      return secretsAmong(open('charge'))[0] ?? null;
    },
  };
}
