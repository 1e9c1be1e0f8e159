import { hash } from 'node:crypto';
import type { Secret } from '../crypto/secret.ts';
import { hintOf, type SecretBox, UnreadableSecretError } from '../crypto/secret-box.ts';
import { eachMerchant } from '../db/by-merchant.ts';
import { array, bigint, bytea, nullable, oneOf, present, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, matches, pick, type Row, values } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { newId } from '../ids.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { SourceAccountKind, SourceKey } from './source.ts';
import { type SecretPurpose, SOURCE_SECRET, secretPlace } from './source-store.ts';

/** The secrets of sources as they are stored; no two sources of one provider have the same. */

/** The most webhook secrets a source has at once: a delivery with a bad signature is checked against every one of them. */
export const MAX_WEBHOOK_SECRETS = 5;

const OWNER = pick(SOURCE_SECRET.shape, 'merchantId', 'sourceId');

/** What a secret is stored with: its source is locked in this transaction, and the box can encrypt, or it throws an Error. */
export interface SecretServices {
  readonly tx: Tx;
  readonly box: SecretBox;
  readonly now: Date;
}

/**
 * Adds a webhook secret, which becomes the newest.
 * @returns why not: `full` if the source has as many as it may, or the other source that has this very secret
 */
export async function insertWebhookSecret(
  services: SecretServices,
  source: SourceAccountKind,
  secret: Secret,
): Promise<'full' | { readonly owner: SourceKey } | null> {
  const { tx, box } = services;
  const plain = secret.reveal();
  const owner = await webhookSecretOwner(services, source, plain);
  if (owner !== null) return { owner };
  const keyedHash = box.keyedHashes(plain)[0] ?? null;
  const row = { ...secretRow(services, source, { purpose: 'webhook', plain }), fingerprint: null, keyedHash };
  return (await STORE_SECRET.run(tx, row)) === 1 ? null : 'full';
}

/** Sets the source's API key in the place of the one it has. @returns the other source that has this very key, if any */
export async function replaceApiAccess(
  services: SecretServices,
  source: SourceKey,
  apiKey: Secret,
): Promise<SourceKey | null> {
  const { tx } = services;
  const plain = apiKey.reveal();
  await deleteApiAccess(tx, source);
  const fingerprint = apiFingerprint(plain);
  const row = { ...secretRow(services, source, { purpose: 'api', plain }), fingerprint, keyedHash: null };
  return (await STORE_SECRET.run(tx, row)) === 1 ? null : apiKeyOwner(tx, fingerprint);
}

export function secretRow(
  { box, now }: Pick<SecretServices, 'box' | 'now'>,
  { merchantId, sourceId }: SourceKey,
  { purpose, plain }: { readonly purpose: SecretPurpose; readonly plain: string },
) {
  return {
    merchantId,
    sourceId,
    secretId: newId('sourceSecret'),
    purpose,
    sealed: box.seal(plain, secretPlace({ merchantId, sourceId }, purpose)),
    hint: hintOf(plain),
    createdAt: now,
    maxSecrets: MAX_WEBHOOK_SECRETS,
  };
}

const STORE_SECRET = statement({
  params: {
    ...SOURCE_SECRET.shape,
    fingerprint: nullable(bytea),
    keyedHash: nullable(bytea),
    maxSecrets: bigint,
  },
  text: (p) => `
    insert into source_secret (${columns(SOURCE_SECRET.shape)}, fingerprint, keyed_hash)
    select ${values(SOURCE_SECRET.shape, p)}, ${p.fingerprint}, ${p.keyedHash}
    where ${p.purpose} <> 'webhook' or (
      select count(*) from source_secret
      where merchant_id = ${p.merchantId} and source_id = ${p.sourceId} and purpose = 'webhook') < ${p.maxSecrets}
    on conflict (fingerprint) where fingerprint is not null do nothing`,
});

function apiFingerprint(plain: string): Buffer {
  return hash('sha256', plain, 'buffer');
}

async function apiKeyOwner(tx: Tx, fingerprint: Buffer): Promise<SourceKey> {
  const owner = await API_KEY_OWNER.first(tx, { fingerprint });
  invariant(owner !== null, 'an API key stood in the way that nobody has');
  return owner;
}

const API_KEY_OWNER = statement({
  acrossMerchants: 'an API key is unique over all of them',
  params: { fingerprint: bytea },
  row: OWNER,
  text: ({ fingerprint }) => `select ${columns(OWNER)} from source_secret where fingerprint = ${fingerprint}`,
});

/**
 * The other source of the same provider and mode, of whichever merchant, that has this webhook secret; null if none has.
 * Whoever asks at the same time waits, so that two cannot both find nothing.
 */
async function webhookSecretOwner(
  { tx, box }: Pick<SecretServices, 'tx' | 'box'>,
  { merchantId, sourceId, provider, mode }: SourceAccountKind,
  plain: string,
): Promise<SourceKey | null> {
  await TAKE_TURNS.run(tx, { what: `webhook secrets of ${provider} ${mode}` });
  await hashWhatIsNot(tx, box, { provider, mode });
  const owners = await SECRET_OWNERS.all(tx, { hashes: box.keyedHashes(plain), provider, mode });
  return owners.find((owner) => owner.merchantId !== merchantId || owner.sourceId !== sourceId) ?? null;
}

const TAKE_TURNS = statement({
  params: { what: text },
  text: ({ what }) => `select pg_advisory_xact_lock(hashtextextended(${what}, 0))`,
});

const SECRET_OWNERS = statement({
  acrossMerchants: 'a webhook secret is unique over all of them',
  params: { hashes: array(bytea), provider: text, mode: text },
  row: OWNER,
  text: ({ hashes, provider, mode }) => `
    select s.merchant_id, s.source_id from source_secret k join source s using (merchant_id, source_id)
    where k.keyed_hash = any (${hashes}) and s.provider = ${provider} and s.mode = ${mode}
    order by k.created_at limit 2`,
});

/** Hashes what an earlier release stored without. What cannot be read has no hash; it verifies nothing either. */
async function hashWhatIsNot(
  tx: Tx,
  box: SecretBox,
  { provider, mode }: Pick<SourceAccountKind, 'provider' | 'mode'>,
): Promise<void> {
  for (const { merchantId, sourceId, secretId, sealed } of await NOT_HASHED.all(tx, { provider, mode })) {
    const [keyedHash] = hashesOf(box, { merchantId, sourceId, purpose: 'webhook', sealed }) ?? [];
    if (keyedHash !== undefined) await SET_HASH.run(tx, { merchantId, sourceId, secretId, keyedHash });
  }
}

/** The hashes of a stored secret under every key, the newest first; null if it cannot be read. */
export function hashesOf(
  box: SecretBox,
  { purpose, sealed, ...key }: Pick<StoredSecret, 'merchantId' | 'sourceId' | 'purpose' | 'sealed'>,
): readonly Buffer[] | null {
  const secret = box.tryToOpen(sealed, secretPlace(key, purpose));
  return secret instanceof UnreadableSecretError ? null : box.keyedHashes(secret.reveal());
}

const NOT_HASHED = statement({
  acrossMerchants: 'a webhook secret is unique over all of them',
  params: { provider: text, mode: text },
  row: { ...OWNER, secretId: text, sealed: text },
  text: ({ provider, mode }) => `
    select k.merchant_id, k.source_id, k.secret_id, k.sealed
    from source_secret k join source s using (merchant_id, source_id)
    where k.purpose = 'webhook' and k.keyed_hash is null and s.provider = ${provider} and s.mode = ${mode}`,
});

const SET_HASH = statement({
  params: { ...OWNER, secretId: text, keyedHash: bytea },
  text: ({ merchantId, sourceId, secretId, keyedHash }) => `
    update source_secret set keyed_hash = ${keyedHash}
    where merchant_id = ${merchantId} and source_id = ${sourceId} and secret_id = ${secretId}`,
});

/** Removes one webhook secret of the source. */
export async function deleteWebhookSecret(
  tx: Tx,
  { merchantId, sourceId }: SourceKey,
  secretId: string,
): Promise<void> {
  await DELETE_WEBHOOK_SECRET.run(tx, { merchantId, sourceId, secretId });
}

const DELETE_WEBHOOK_SECRET = statement({
  params: { ...OWNER, secretId: text },
  text: ({ merchantId, sourceId, secretId }) => `
    delete from source_secret
    where merchant_id = ${merchantId} and source_id = ${sourceId} and secret_id = ${secretId} and purpose = 'webhook'`,
});

/** Removes the API key of the source, if it has one. */
export async function deleteApiAccess(tx: Tx, { merchantId, sourceId }: SourceKey): Promise<void> {
  await DELETE_API_ACCESS.run(tx, { merchantId, sourceId });
}

const DELETE_API_ACCESS = statement({
  params: OWNER,
  text: ({ merchantId, sourceId }) => `
    delete from source_secret
    where merchant_id = ${merchantId} and source_id = ${sourceId} and purpose = 'api'`,
});

type StoredSecret = Row<typeof SOURCE_SECRET.shape>;

/** The merchant's secrets as they are stored, by source. */
export async function selectSealed(db: Queryable, merchantId: string): Promise<readonly StoredSecret[]> {
  return SELECT_SEALED.all(db, { merchantId });
}

const SELECT_SEALED = statement({
  params: { merchantId: text },
  row: SOURCE_SECRET.shape,
  text: ({ merchantId }) => `
    select ${columns(SOURCE_SECRET.shape)} from source_secret
    where merchant_id = ${merchantId} order by source_id, created_at, secret_id`,
});

/** A stored secret with what kind of account its source is of. */
export type SealedSecret = StoredSecret & SourceAccountKind;

/** A page of the stored secrets of every merchant, in the order of their keys. @param after the last one before it, if any */
export async function selectSealedPage(
  db: Queryable,
  after: Pick<SealedSecret, 'merchantId' | 'sourceId' | 'secretId'> | null,
  pageSize: number,
): Promise<readonly SealedSecret[]> {
  const { merchantId, sourceId, secretId } = after ?? { merchantId: '', sourceId: '', secretId: '' };
  return SEALED_PAGE.all(db, { afterMerchant: merchantId, afterSource: sourceId, afterSecret: secretId, pageSize });
}

const KIND = { provider: oneOf<ProviderName>(), mode: oneOf<'test' | 'live'>() };

const SEALED_PAGE = statement({
  acrossMerchants: 'a warning to the operator',
  params: { afterMerchant: text, afterSource: text, afterSecret: text, pageSize: bigint },
  row: { ...SOURCE_SECRET.shape, ...KIND },
  text: ({ afterMerchant, afterSource, afterSecret, pageSize }) => `
    select ${columns(SOURCE_SECRET.shape, 'k')}, s.provider, s.mode
    from source_secret k join source s using (merchant_id, source_id)
    where (k.merchant_id, k.source_id, k.secret_id) > (${afterMerchant}, ${afterSource}, ${afterSecret})
    order by k.merchant_id, k.source_id, k.secret_id limit ${pageSize}`,
});

/** Which stored sources, of every merchant, have webhook secrets of these hashes. */
export async function selectHashOwners(db: Queryable, hashes: readonly Buffer[]): Promise<readonly HashOwner[]> {
  return HASH_OWNERS.all(db, { hashes });
}

/** A source that has a webhook secret of this hash. */
export interface HashOwner extends SourceAccountKind {
  readonly keyedHash: Buffer;
}

const HASH_OWNERS = statement({
  acrossMerchants: 'a webhook secret is unique over all of them',
  params: { hashes: array(bytea) },
  row: { ...OWNER, ...KIND, keyedHash: present(bytea) },
  text: ({ hashes }) => `
    select k.merchant_id, k.source_id, s.provider, s.mode, k.keyed_hash
    from source_secret k join source s using (merchant_id, source_id)
    where k.keyed_hash = any (${hashes}) order by k.created_at, k.secret_id`,
});

/** Every stored secret, locked; for encrypting them again. */
export async function lockSecrets(tx: Tx): Promise<readonly StoredSecret[]> {
  return LOCK_SECRETS.all(tx);
}

const LOCK_SECRETS = statement({
  acrossMerchants: 'the encryption key is one for all of them',
  params: {},
  row: SOURCE_SECRET.shape,
  text: () => `select ${columns(SOURCE_SECRET.shape)} from source_secret order by 1, 2, 3 for update`,
});

const SECRET_KEY = pick(SOURCE_SECRET.shape, 'sourceId', 'secretId');

/** Puts what was encrypted again in the place of what was stored; a hash that is null leaves the one that is there. */
export async function replaceSealed(
  tx: Tx,
  secrets: readonly (StoredSecret & { readonly keyedHash: Buffer | null })[],
): Promise<void> {
  await eachMerchant(secrets, (merchantId, own) => REPLACE_SEALED.run(tx, { merchantId, secrets: own }));
}

const REPLACE_SEALED = statement({
  params: { merchantId: text, secrets: rowsOf({ ...SECRET_KEY, sealed: text, keyedHash: nullable(bytea) }) },
  text: ({ merchantId, secrets }) => `
    update source_secret s set sealed = n.sealed, keyed_hash = coalesce(n.keyed_hash, s.keyed_hash)
    from ${secrets('n', { merchantId })}
    where s.merchant_id = n.merchant_id and ${matches(SECRET_KEY, 's', 'n')}
      and (s.sealed <> n.sealed or s.keyed_hash is distinct from coalesce(n.keyed_hash, s.keyed_hash))`,
});
