import type { Clock } from '../clock.ts';
import type { Secret } from '../crypto/secret.ts';
import type { SecretBox } from '../crypto/secret-box.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import { webhookSecretProblem } from '../providers/secret-form.ts';
import { ProviderApiError } from '../providers/shared/api.ts';
import { defaultMetadataRule } from '../providers/shared/metadata-rule.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import {
  type ApiKeyInput,
  type ApiKeyRecord,
  endApiKeyAt,
  keyLimitProblem,
  listApiKeys,
  lockApiKey,
  revokeApiKey,
  storeApiKey,
} from './api-key-store.ts';
import { newApiKey } from './api-keys.ts';
import { getMerchant, insertMerchant, type Merchant, setSuspended } from './merchant-store.ts';
import {
  deleteSecrets,
  insertSource,
  SAME_ACCOUNT,
  type SourceInput,
  type SourceKey,
  type SourceRecord,
  selectSourceRecords,
  storeSecret,
  updateSource,
} from './source-store.ts';
import type { SourceDirectory } from './sources.ts';

/**
 * What operators do with merchants, keys and sources, the same for the admin routes and the command line. Everything
 * here throws a RefusalError for what the operator must mend, and NOT_FOUND for what is not there.
 */
export interface AdminServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly box: SecretBox;
  readonly sources: SourceDirectory;
}

/** @param merchantId an id of the operator's own, or null for a new one */
export async function createMerchant(
  { pool, clock }: AdminServices,
  { merchantId, name, mode }: { merchantId: string | null; name: string; mode: 'test' | 'live' },
): Promise<Merchant> {
  // Merchants' ids become part of addresses, ours and Svix', where dots alone would name something else.
  if (merchantId !== null && /^\.+$/.test(merchantId))
    refuse('INVALID_REQUEST_BODY', 'merchant_id: wants a letter or a digit in it');
  const merchant = { merchantId: merchantId ?? newId('merchant'), name, mode };
  const made = await insertMerchant(autocommit(pool), merchant, clock.now());
  return made ?? refuse('CONFLICT', 'There is a merchant of this id already.');
}

/** Takes effect within ten seconds in every process. */
export async function suspendMerchant(
  { pool, clock }: AdminServices,
  merchantId: string,
  isSuspended: boolean,
): Promise<Merchant> {
  return (await setSuspended(autocommit(pool), merchantId, isSuspended, clock.now())) ?? refuseUnknownMerchant();
}

export async function findMerchant({ pool }: Pick<AdminServices, 'pool'>, merchantId: string): Promise<Merchant> {
  return (await getMerchant(autocommit(pool), merchantId)) ?? refuseUnknownMerchant();
}

/** A key as it is shown the one time. */
export interface NewApiKey extends ApiKeyRecord {
  readonly key: string;
}

export function createApiKey(services: AdminServices, merchantId: string, input: ApiKeyInput): Promise<NewApiKey> {
  return transaction(services.pool, (tx) => addKey(services, tx, merchantId, input));
}

/**
 * Makes a key with the scopes and the span of life of another, which ends after `graceSeconds`: in between both are good.
 * @throws {RefusalError} CONFLICT for a key that was revoked or has ended
 */
export function rotateApiKey(
  services: AdminServices,
  merchantId: string,
  keyId: string,
  graceSeconds: number,
): Promise<NewApiKey> {
  return transaction(services.pool, async (tx) => {
    const old = (await lockApiKey(tx, merchantId, keyId)) ?? refuse('NOT_FOUND', 'There is no such API key.');
    const now = services.clock.now();
    if (old.replacedBy !== null) refuse('CONFLICT', 'This key was rotated before. Rotate the one that took its place.');
    const isOver = old.revokedAt !== null || (old.expiresAt !== null && old.expiresAt <= now);
    if (isOver) refuse('CONFLICT', 'This key was revoked or has ended. Create a new one.');
    // It lives as long as the old one was meant to.
    const lifeMs = old.expiresAt === null ? null : old.expiresAt.getTime() - old.createdAt.getTime();
    const expiresAt = lifeMs === null ? null : new Date(now.getTime() + lifeMs);
    const made = await addKey(services, tx, merchantId, { name: old.name, scopes: old.scopes, expiresAt });
    await endApiKeyAt(tx, merchantId, keyId, new Date(now.getTime() + graceSeconds * 1000), made.keyId);
    return made;
  });
}

/** Takes effect within ten seconds in every process. */
export async function endApiKey(
  { pool, clock }: AdminServices,
  merchantId: string,
  keyId: string,
): Promise<ApiKeyRecord> {
  const revoked = await revokeApiKey(autocommit(pool), merchantId, keyId, clock.now());
  return revoked ?? refuse('NOT_FOUND', 'There is no such API key.');
}

async function addKey({ clock }: AdminServices, tx: Tx, merchantId: string, input: ApiKeyInput): Promise<NewApiKey> {
  const merchant = (await getMerchant(tx, merchantId)) ?? refuseUnknownMerchant();
  const now = clock.now();
  if (input.expiresAt !== null && input.expiresAt <= now)
    refuse('INVALID_REQUEST_BODY', 'expires_at: wants a time to come');
  const problem = await keyLimitProblem(tx, merchantId, now);
  if (problem !== null) refuse(problem.code, problem.message);
  const key = newApiKey(merchant.mode);
  const keyId = await storeApiKey(tx, merchantId, { ...input, key, isDefault: false }, now);
  const stored = await lockApiKey(tx, merchantId, keyId);
  invariant(stored !== null, 'a key that was just stored is not there');
  return { ...stored, key };
}

export async function apiKeysOf(services: AdminServices, merchantId: string): Promise<readonly ApiKeyRecord[]> {
  await findMerchant(services, merchantId);
  return listApiKeys(autocommit(services.pool), merchantId);
}

export interface NewSource extends Omit<SourceInput, 'metadata'> {
  readonly provider: ProviderName;
  /** Null for what is safe at this provider. */
  readonly metadata: SourceInput['metadata'] | null;
  /** What the operator believes the mode to be; null to take the merchant's. */
  readonly mode: 'test' | 'live' | null;
  readonly webhookSecret: Secret;
  readonly apiKey: Secret | null;
}

/** @throws {RefusalError} CONFLICT if the mode is not the merchant's, INVALID_REQUEST_BODY for a secret of the wrong form */
export async function createSource(
  services: AdminServices,
  merchantId: string,
  source: NewSource,
): Promise<SourceRecord> {
  const { pool, clock, box } = services;
  requireKey(box);
  checkWebhookSecret(source.provider, source.webhookSecret);
  return transaction(pool, async (tx) => {
    const merchant = (await getMerchant(tx, merchantId)) ?? refuseUnknownMerchant();
    if (source.mode !== null && source.mode !== merchant.mode) {
      refuse('CONFLICT', `The merchant is in ${merchant.mode} mode, and so must its sources be.`);
    }
    const now = clock.now();
    const metadata = source.metadata ?? defaultMetadataRule(source.provider);
    const key = await insertSource(tx, merchantId, source.provider, { ...source, metadata }, now);
    await storeSecret(tx, box, key, 'webhook', source.webhookSecret, now);
    if (source.apiKey !== null) {
      await storeApiAccess(
        services,
        tx,
        { ...key, provider: source.provider, mode: merchant.mode },
        source.apiKey,
        now,
      );
    }
    return readSource(tx, key);
  });
}

/**
 * A change of `refunds` does not reach payments that were heard of before, one of `defaultPurpose` or `metadata` not those
 * whose success was recorded; everything else counts from now on.
 */
export function changeSource(
  services: AdminServices,
  key: SourceKey,
  change: Partial<SourceInput> & { readonly apiKey?: Secret | null },
): Promise<SourceRecord> {
  return changing(services, key, async (tx, source, now) => {
    await updateSource(tx, key, { ...source, ...change }, now);
    if (change.apiKey === undefined) return;
    if (change.apiKey === null) await deleteSecrets(tx, key, 'api', null);
    else await storeApiAccess(services, tx, source, change.apiKey, now);
  });
}

/** The secret becomes the newest; the others go on to be accepted until they are removed. */
export function addWebhookSecret(services: AdminServices, key: SourceKey, secret: Secret): Promise<SourceRecord> {
  return changing(services, key, async (tx, source, now) => {
    checkWebhookSecret(source.provider, secret);
    const problem = await storeSecret(tx, requireKey(services.box), key, 'webhook', secret, now);
    if (problem !== null) refuse(problem.code, problem.message);
  });
}

/** @throws {RefusalError} CONFLICT for the last one, without which every delivery would be refused */
export function removeWebhookSecret(services: AdminServices, key: SourceKey, secretId: string): Promise<SourceRecord> {
  return changing(services, key, async (tx, source) => {
    const secrets = source.secrets.filter((secret) => secret.purpose === 'webhook');
    if (!secrets.some((secret) => secret.secretId === secretId)) refuse('NOT_FOUND', 'There is no such secret.');
    if (secrets.length === 1) refuse('CONFLICT', 'This is the only secret. Add another first, or disable the source.');
    await deleteSecrets(tx, key, 'webhook', secretId);
  });
}

export async function sourcesOf(services: AdminServices, merchantId: string): Promise<readonly SourceRecord[]> {
  await findMerchant(services, merchantId);
  return selectSourceRecords(autocommit(services.pool), merchantId);
}

export function findSource({ pool }: AdminServices, key: SourceKey): Promise<SourceRecord> {
  return readSource(autocommit(pool), key);
}

async function changing(
  { pool, clock, sources }: AdminServices,
  key: SourceKey,
  change: (tx: Tx, source: SourceRecord, now: Date) => Promise<void>,
): Promise<SourceRecord> {
  const changed = await transaction(pool, async (tx) => {
    const source = await readSource(tx, key, 'for update');
    await change(tx, source, clock.now());
    return readSource(tx, key);
  });
  sources.forget(key.sourceId);
  return changed;
}

async function readSource(
  db: Parameters<typeof selectSourceRecords>[0],
  { merchantId, sourceId }: SourceKey,
  lock: '' | 'for update' = '',
): Promise<SourceRecord> {
  const [source] = await selectSourceRecords(db, merchantId, sourceId, lock);
  return source ?? refuse('NOT_FOUND', 'There is no such source.');
}

/** @throws {RefusalError} INVALID_REQUEST_BODY for a key of the wrong form, CONFLICT if another source has it */
async function storeApiAccess(
  { box, sources }: AdminServices,
  tx: Tx,
  { provider, mode, ...key }: SourceKey & Pick<SourceRecord, 'provider' | 'mode'>,
  apiKey: Secret,
  now: Date,
): Promise<void> {
  // Loaded only now: the clients bring providers' SDKs, which would slow down every command of the terminal.
  const { PROVIDER_APIS } = await import('../providers/apis.ts');
  const connect = PROVIDER_APIS[provider];
  if (connect === undefined) refuse('NOT_IMPLEMENTED', `The payments of ${provider} cannot be listed by its API.`);
  try {
    connect?.({ apiKey, mode });
  } catch (error) {
    if (!(error instanceof ProviderApiError)) throw error;
    refuse('INVALID_REQUEST_BODY', `api_key: ${error.message}`);
  }
  if (sources.hasConfiguredApiKey(apiKey)) refuse('CONFLICT', SAME_ACCOUNT);
  const problem = await storeSecret(tx, requireKey(box), key, 'api', apiKey, now);
  if (problem !== null) refuse(problem.code, problem.message);
}

function checkWebhookSecret(provider: ProviderName, secret: Secret): void {
  const problem = webhookSecretProblem(provider, secret.reveal());
  if (problem !== null) refuse('INVALID_REQUEST_BODY', `webhook_secret: ${problem}`);
}

function requireKey(box: SecretBox): SecretBox {
  if (!box.canSeal) {
    refuse(
      'NOT_IMPLEMENTED',
      'Secrets are stored encrypted only. Set ENCRYPTION_KEY (openssl rand -base64 32) and restart.',
    );
  }
  return box;
}

function refuseUnknownMerchant(): never {
  return refuse('NOT_FOUND', 'There is no such merchant.');
}
