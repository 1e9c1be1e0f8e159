import type { SecretBox } from '../crypto/secret-box.ts';
import type { Queryable } from '../db/transaction.ts';
import { selectAccounts } from './account-store.ts';
import { isOfKind, isOfSource } from './accounts.ts';
import type { SourceAccountKind } from './source.ts';
import { hashesOf, selectHashOwners, selectSealed } from './source-secret-store.ts';
import { selectSourceRecords } from './source-store.ts';
import type { SourceDirectory } from './sources.ts';

/** What an operator should know of sources beside their settings: what they share with others, and what cannot be read. */

export interface SourceFinding {
  /** The source that it is about. */
  readonly sourceId: string;
  readonly kind: 'shared_account' | 'shared_webhook_secret' | 'unreadable_secret';
  /** The account that is shared. */
  readonly account: string | null;
  /** The stored secret that cannot be decrypted. */
  readonly secretId: string | null;
  /** The other source, where it is the same merchant's; of another merchant's nothing is told but that there is one. */
  readonly otherSourceId: string | null;
}

export interface FindingServices {
  readonly db: Queryable;
  readonly box: SecretBox;
  readonly sources: SourceDirectory;
}

/** All findings about the merchant's sources, those of the environment too. */
export async function findingsOf(services: FindingServices, merchantId: string): Promise<readonly SourceFinding[]> {
  const { db } = services;
  const own = [...services.sources.configured(merchantId), ...(await selectSourceRecords(db, merchantId))];
  const secrets = await openSecrets(services, merchantId);
  const unreadable = secrets.flatMap(({ sourceId, secretId, hashes }) =>
    hashes === null
      ? [{ sourceId, kind: 'unreadable_secret' as const, account: null, secretId, otherSourceId: null }]
      : [],
  );
  const found = [
    ...(await sharedAccounts(db, own)),
    ...(await sharedSecrets(services, { own, secrets })),
    ...unreadable,
  ];
  // How many sources of other merchants there are is not told either.
  return [...new Map(found.map((one) => [JSON.stringify(one), one])).values()];
}

async function sharedAccounts(db: Queryable, own: readonly SourceAccountKind[]): Promise<readonly SourceFinding[]> {
  const known = await selectAccounts(db, own, []);
  return own.flatMap((source) => {
    const accounts = known.filter((one) => isOfSource(one, source));
    return accounts.flatMap(({ account }) =>
      known
        .filter((one) => isOfKind(one, source) && one.account === account && !isOfSource(one, source))
        .map((other) => shared(source, { kind: 'shared_account', account, other })),
    );
  });
}

interface OpenedSecret {
  readonly sourceId: string;
  /** Null for a secret of the environment. */
  readonly secretId: string | null;
  readonly isWebhook: boolean;
  /** Under every key; null if it cannot be read. */
  readonly hashes: readonly Buffer[] | null;
}

async function openSecrets(
  { db, box, sources }: FindingServices,
  merchantId: string,
): Promise<readonly OpenedSecret[]> {
  const configured = sources.configured(merchantId).flatMap(({ sourceId, secrets }) =>
    secrets.map((secret) => ({
      ...{ sourceId, secretId: null, isWebhook: true },
      hashes: box.keyedHashes(secret.reveal()),
    })),
  );
  const stored = (await selectSealed(db, merchantId)).map((secret) => {
    const { sourceId, secretId, purpose } = secret;
    return { sourceId, secretId, isWebhook: purpose === 'webhook', hashes: hashesOf(box, secret) };
  });
  return [...configured, ...stored];
}

async function sharedSecrets(
  { db, sources, box }: FindingServices,
  { own, secrets }: { readonly own: readonly SourceAccountKind[]; readonly secrets: readonly OpenedSecret[] },
): Promise<readonly SourceFinding[]> {
  const webhook = secrets.filter((one) => one.isWebhook);
  const hashes = webhook.flatMap((one) => one.hashes ?? []);
  const stored = hashes.length === 0 ? [] : await selectHashOwners(db, hashes);
  const owners = [...stored, ...sources.webhookSecretHashes(box)];
  return own.flatMap((source) => {
    const ofSource = new Set(
      webhook
        .filter((one) => one.sourceId === source.sourceId)
        .flatMap((one) => (one.hashes ?? []).map((hash) => hash.toString('hex'))),
    );
    const alike = owners.filter(
      (one) =>
        ofSource.has(one.keyedHash.toString('hex')) &&
        one.provider === source.provider &&
        one.mode === source.mode &&
        !isOfSource(one, source),
    );
    const others = new Map(alike.map((other) => [`${other.merchantId} ${other.sourceId}`, other]));
    return [...others.values()].map((other) => shared(source, { kind: 'shared_webhook_secret', account: null, other }));
  });
}

function shared(
  { merchantId, sourceId }: SourceAccountKind,
  found: {
    readonly kind: SourceFinding['kind'];
    readonly account: string | null;
    readonly other: { readonly merchantId: string; readonly sourceId: string };
  },
): SourceFinding {
  const { kind, account, other } = found;
  return {
    ...{ sourceId, kind, account, secretId: null },
    otherSourceId: other.merchantId === merchantId ? other.sourceId : null,
  };
}
