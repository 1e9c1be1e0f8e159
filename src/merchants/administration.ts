import type { Clock } from '../clock.ts';
import type { Secret } from '../crypto/secret.ts';
import type { SecretBox } from '../crypto/secret-box.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, type Tx, transaction } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import { defaultMetadataRule } from '../providers/shared/metadata-rule.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import { forgetAccounts } from './account-store.ts';
import { type ApiAccount, askAccount, type ConnectSource, claimAccount } from './api-account.ts';
import {
  type ApiKeyInput,
  type ApiKeyRecord,
  type ApiKeyRef,
  endApiKeyAt,
  listApiKeys,
  lockApiKey,
  requireRoomForKey,
  revokeApiKey,
  storeApiKey,
} from './api-key-store.ts';
import { newApiKey } from './api-keys.ts';
import { accountOfChargeKey, refuseChargesElsewhere } from './charge-account.ts';
import type { KeyGuardMode } from './key-guard/key-guard.ts';
import { getMerchant, insertMerchant, type Merchant, setKeyGuard, setSuspended } from './merchant-store.ts';
import type { SourceKey } from './source.ts';
import { setAccounts } from './source-accounts.ts';
import { deleteApiAccess, deleteWebhookSecret } from './source-secret-store.ts';
import {
  checkApiKey,
  checkWebhookSecret,
  requireKey,
  type SourceKeys,
  storeApiAccess,
  storeChargeAccess,
  storeWebhookSecret,
} from './source-secrets.ts';
import {
  insertSource,
  type SourceInput,
  type SourceRecord,
  selectSourceRecord,
  selectSourceRecords,
  updateSource,
} from './source-store.ts';
import type { SourceDirectory } from './sources.ts';

/**
 * What operators do with merchants, keys and sources, the same for the admin routes and the command line. Everything
 * here throws a RefusalError for what the operator must mend, or for what is not there.
 */
export interface AdminServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly box: SecretBox;
  readonly sources: SourceDirectory;
  readonly connect: ConnectSource;
}

/**
 * @param merchantId an id of the operator's own, or null for a new one
 * @throws {RefusalError} MERCHANT_EXISTS; INVALID_FIELD for an id of nothing but dots
 */
export async function createMerchant(
  { pool, clock }: AdminServices,
  { merchantId, name, mode }: { merchantId: string | null; name: string; mode: 'test' | 'live' },
): Promise<Merchant> {
  // Merchants' ids become part of addresses, here and at Svix, where dots alone would name something else.
  if (merchantId !== null && /^\.+$/.test(merchantId))
    refuse({ code: 'INVALID_FIELD', field: 'merchant_id', wants: 'wants a letter or a digit in it' });
  const merchant = { merchantId: merchantId ?? newId('merchant'), name, mode };
  const made = await insertMerchant(autocommit(pool), merchant, clock.now());
  return made ?? refuse({ code: 'MERCHANT_EXISTS' });
}

/** Takes effect within ten seconds in every process. @throws {RefusalError} NO_SUCH_MERCHANT */
export async function suspendMerchant(
  { pool, clock }: AdminServices,
  merchantId: string,
  isSuspended: boolean,
): Promise<Merchant> {
  return (
    (await setSuspended(autocommit(pool), merchantId, isSuspended ? clock.now() : null)) ?? refuseUnknownMerchant()
  );
}

/** Takes effect within ten seconds in every process. @throws {RefusalError} NO_SUCH_MERCHANT */
export async function guardKeys({ pool }: AdminServices, merchantId: string, mode: KeyGuardMode): Promise<Merchant> {
  return (await setKeyGuard(autocommit(pool), merchantId, mode)) ?? refuseUnknownMerchant();
}

/** @throws {RefusalError} NO_SUCH_MERCHANT */
export async function findMerchant({ pool }: Pick<AdminServices, 'pool'>, merchantId: string): Promise<Merchant> {
  return (await getMerchant(autocommit(pool), merchantId)) ?? refuseUnknownMerchant();
}

/** A key as it is shown the one time. */
export interface NewApiKey extends ApiKeyRecord {
  readonly key: string;
}

/** @throws {RefusalError} NO_SUCH_MERCHANT, API_KEY_LIMIT; INVALID_FIELD for a key that would have ended already */
export function createApiKey(services: AdminServices, merchantId: string, input: ApiKeyInput): Promise<NewApiKey> {
  return transaction(services.pool, (tx) => addKey(services, tx, { merchantId, ...input }));
}

/**
 * Makes a key with the scopes and the span of life of another, which ends after `graceSeconds`: in between both are good.
 * @throws {RefusalError} NO_SUCH_API_KEY, API_KEY_ROTATED_BEFORE, API_KEY_LIMIT; API_KEY_OVER for one that was revoked or has ended
 */
export function rotateApiKey(services: AdminServices, key: ApiKeyRef, graceSeconds: number): Promise<NewApiKey> {
  return transaction(services.pool, async (tx) => {
    const old = (await lockApiKey(tx, key)) ?? refuse({ code: 'NO_SUCH_API_KEY' });
    const now = services.clock.now();
    if (old.replacedBy !== null) refuse({ code: 'API_KEY_ROTATED_BEFORE' });
    const isOver = old.revokedAt !== null || (old.expiresAt !== null && old.expiresAt <= now);
    if (isOver) refuse({ code: 'API_KEY_OVER' });
    // It lives as long as the old one was meant to.
    const lifeMs = old.expiresAt === null ? null : old.expiresAt.getTime() - old.createdAt.getTime();
    const expiresAt = lifeMs === null ? null : new Date(now.getTime() + lifeMs);
    const { merchantId, name, scopes } = old;
    const made = await addKey(services, tx, { merchantId, name, scopes, expiresAt });
    await endApiKeyAt(tx, key, { at: new Date(now.getTime() + graceSeconds * 1000), replacedBy: made.keyId });
    return made;
  });
}

/** Takes effect within ten seconds in every process. @throws {RefusalError} NO_SUCH_API_KEY */
export async function endApiKey({ pool, clock }: AdminServices, key: ApiKeyRef): Promise<ApiKeyRecord> {
  const revoked = await revokeApiKey(autocommit(pool), key, clock.now());
  return revoked ?? refuse({ code: 'NO_SUCH_API_KEY' });
}

async function addKey(
  { clock }: AdminServices,
  tx: Tx,
  { merchantId, ...input }: ApiKeyInput & Pick<ApiKeyRef, 'merchantId'>,
): Promise<NewApiKey> {
  const merchant = (await getMerchant(tx, merchantId)) ?? refuseUnknownMerchant();
  const now = clock.now();
  if (input.expiresAt !== null && input.expiresAt <= now)
    refuse({ code: 'INVALID_FIELD', field: 'expires_at', wants: 'wants a time to come' });
  await requireRoomForKey(tx, merchantId, now);
  const key = newApiKey(merchant.mode);
  const keyId = await storeApiKey(tx, { merchantId, ...input, key, isDefault: false }, now);
  const stored = await lockApiKey(tx, { merchantId, keyId });
  invariant(stored !== null, 'a key that was just stored is not there');
  return { ...stored, key };
}

/** Newest first, revoked and ended ones included. @throws {RefusalError} NO_SUCH_MERCHANT */
export async function apiKeysOf(db: Queryable, merchantId: string): Promise<readonly ApiKeyRecord[]> {
  if ((await getMerchant(db, merchantId)) === null) refuseUnknownMerchant();
  return listApiKeys(db, merchantId);
}

export interface NewSource extends Omit<SourceInput, 'metadata'> {
  readonly provider: ProviderName;
  /** Null for what is safe at this provider. */
  readonly metadata: SourceInput['metadata'] | null;
  /** What the operator believes the mode to be; null to take the merchant's. */
  readonly mode: 'test' | 'live' | null;
  readonly webhookSecret: Secret;
  readonly apiKey: Secret | null;
  /** Its accounts at the provider; none if they are to be learnt. */
  readonly accounts: readonly string[];
}

/**
 * Makes a source with its first webhook secret. Where its provider says whose the API key is, it is asked first; if it does not
 * answer soon, the source is made all the same, and reconciliation asks again.
 * @throws {RefusalError} NO_SUCH_MERCHANT, MODE_DIFFERS, ENCRYPTION_KEY_MISSING, ACCOUNT_OF_ANOTHER_SOURCE; INVALID_FIELD for a
 *   secret or an API key of the wrong form, and PROVIDER_NOT_LISTABLE for an API key of a provider that Chokin cannot ask
 */
export async function createSource(
  services: AdminServices,
  merchantId: string,
  source: NewSource,
): Promise<SourceRecord> {
  const { pool, clock, box } = services;
  requireKey(box);
  checkWebhookSecret(source.provider, source.webhookSecret);
  if (source.apiKey !== null) checkApiKey(source.apiKey);
  // A merchant's mode never changes.
  const merchant = await findMerchant(services, merchantId);
  if (source.mode !== null && source.mode !== merchant.mode) {
    refuse({ code: 'MODE_DIFFERS', mode: merchant.mode });
  }
  const { provider, apiKey } = source;
  const asked = await askAccount(services.connect, { provider, mode: merchant.mode, apiKey });
  const record = await transaction(pool, async (tx) => {
    const now = clock.now();
    const metadata = source.metadata ?? defaultMetadataRule(source.provider);
    const { webhookSecret, accounts } = source;
    const key = await insertSource(tx, { ...source, merchantId, metadata }, now);
    const made = { ...key, provider, mode: merchant.mode };
    const secretServices = { ...services, tx, now };
    await storeWebhookSecret(secretServices, made, webhookSecret);
    if (apiKey !== null) await storeApiAccess(secretServices, made, apiKey);
    if (asked.kind === 'known') await claimAccount(tx, { source: made, account: asked.account }, now);
    if (accounts.length > 0) await setAccounts(tx, { source: made, accounts }, now);
    return readSource(tx, key);
  });
  services.sources.forget(record.sourceId);
  return record;
}

/**
 * A change of `refunds`, `disputes` or `capture` does not reach payments that were heard of before, one of `defaultPurpose` or `metadata` not those
 * whose success was recorded; everything else counts from now on.
 * @throws {RefusalError} NO_SUCH_SOURCE, ACCOUNT_OF_ANOTHER_SOURCE; for an API key ENCRYPTION_KEY_MISSING, PROVIDER_NOT_LISTABLE,
 *   or INVALID_FIELD if it is of the wrong form
 */
export async function changeSource(
  services: AdminServices,
  key: SourceKey,
  change: Partial<SourceInput> & SourceKeys & { readonly accounts?: readonly string[] },
): Promise<SourceRecord> {
  const asked = await accountOfNewKey(services, key, change.apiKey ?? null);
  const ofCharges = await accountOfChargeKey(services, { ...(await findSource(services, key)), ...change });
  return changing(services, key, async (tx, source, now) => {
    const { apiKey, chargeKey, accounts, ...settings } = change;
    await updateSource(tx, { ...source, ...settings }, now);
    if (accounts !== undefined) await setAccounts(tx, { source, accounts }, now);
    if (chargeKey !== undefined) await storeChargeAccess({ ...services, tx, now }, source, chargeKey);
    if (apiKey !== undefined) {
      if (apiKey === null) await deleteApiAccess(tx, key);
      else await storeApiAccess({ ...services, tx, now }, source, apiKey);
      if (asked.kind === 'known') await claimAccount(tx, { source, account: asked.account }, now);
      // Keys are mostly rolled within one account: where the provider does not say now, what is known stays until it does.
      else if (asked.kind === 'none') await forgetAccounts(tx, key, { learntFromApi: true, but: [] });
    }
    await refuseChargesElsewhere(tx, source, ofCharges);
  });
}

async function accountOfNewKey(services: AdminServices, key: SourceKey, apiKey: Secret | null): Promise<ApiAccount> {
  if (apiKey === null) return { kind: 'none' };
  requireKey(services.box);
  checkApiKey(apiKey);
  return askAccount(services.connect, { ...(await findSource(services, key)), apiKey });
}

/**
 * The secret becomes the newest; the others go on to be accepted until they are removed.
 * @throws {RefusalError} NO_SUCH_SOURCE, ENCRYPTION_KEY_MISSING, ACCOUNT_OF_ANOTHER_SOURCE, WEBHOOK_SECRET_LIMIT; INVALID_FIELD for
 *   one of the wrong form
 */
export function addWebhookSecret(services: AdminServices, key: SourceKey, secret: Secret): Promise<SourceRecord> {
  return changing(services, key, async (tx, source, now) => {
    checkWebhookSecret(source.provider, secret);
    await storeWebhookSecret({ ...services, tx, now }, source, secret);
  });
}

/**
 * @throws {RefusalError} NO_SUCH_SOURCE, NO_SUCH_WEBHOOK_SECRET; ONLY_WEBHOOK_SECRET for the last one, without which every delivery
 *   would be refused
 */
export function removeWebhookSecret(services: AdminServices, key: SourceKey, secretId: string): Promise<SourceRecord> {
  return changing(services, key, async (tx, source) => {
    const secrets = source.secrets.filter((secret) => secret.purpose === 'webhook');
    if (!secrets.some((secret) => secret.secretId === secretId)) refuse({ code: 'NO_SUCH_WEBHOOK_SECRET' });
    if (secrets.length === 1) refuse({ code: 'ONLY_WEBHOOK_SECRET' });
    await deleteWebhookSecret(tx, key, secretId);
  });
}

/** Oldest first, without those of the environment. @throws {RefusalError} NO_SUCH_MERCHANT */
export async function sourcesOf(db: Queryable, merchantId: string): Promise<readonly SourceRecord[]> {
  if ((await getMerchant(db, merchantId)) === null) refuseUnknownMerchant();
  return selectSourceRecords(db, merchantId);
}

/** A source that the database keeps. @throws {RefusalError} NO_SUCH_SOURCE */
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

async function readSource(db: Queryable, key: SourceKey, lock: '' | 'for update' = ''): Promise<SourceRecord> {
  return (await selectSourceRecord(db, key, lock)) ?? refuse({ code: 'NO_SUCH_SOURCE' });
}

const refuseUnknownMerchant = (): never => refuse({ code: 'NO_SUCH_MERCHANT' });
