import { readInstallationId } from '../../db/installation.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit } from '../../db/transaction.ts';
import { invariant } from '../../errors.ts';
import { getMerchant } from '../../merchants/merchant-store.ts';
import { isNotFound } from './answers.ts';
import type { SvixClient } from './client.ts';

/**
 * A merchant's application at Svix. Everything of one token lies in one organisation there, so the uid begins with the id of
 * this installation: two installations that share a token, each with a merchant `bus_default`, must not share its endpoints.
 */
export interface ApplicationIdentity {
  readonly uid: string;
  /** The uid that the first release gave: the merchant's id alone. */
  readonly plainUid: string;
  /** For people: the merchant's name. */
  readonly name: string;
  /** By which we know our own applications, whatever their uid. */
  readonly metadata: Readonly<Record<typeof INSTALLATION | typeof MERCHANT, string>>;
}

const INSTALLATION = 'chokin_installation';
const MERCHANT = 'chokin_merchant';

/** Tells what the application of a merchant is called. */
export type IdentityOf = (merchantId: string) => Promise<ApplicationIdentity>;

export function applicationUid(installationId: string, merchantId: string): string {
  return `${installationId}.${merchantId}`;
}

/**
 * Another application of the same merchant. What it is for stands before the first dot, since merchants' ids may hold dots: behind
 * the id, it would be the application of the merchant `shop.single`, who could read what belongs to the merchant `shop`.
 */
export function besideUid(application: string, purpose: string): string {
  const dot = application.indexOf('.');
  invariant(dot > 0, 'the uid of an application has no installation');
  return `${application.slice(0, dot)}-${purpose}${application.slice(dot)}`;
}

/** Reads identities from the database: the installation's id once, merchants' names each time. */
export function identitiesFrom(pool: Pool): IdentityOf {
  const db = autocommit(pool);
  let installation: Promise<string> | null = null;
  return async (merchantId) => {
    installation ??= readInstallationId(db);
    installation.catch(() => {
      installation = null;
    });
    const installationId = await installation;
    const name = (await getMerchant(db, merchantId))?.name ?? merchantId;
    return applicationIdentity(installationId, merchantId, name);
  };
}

export function applicationIdentity(installationId: string, merchantId: string, name: string): ApplicationIdentity {
  return {
    uid: applicationUid(installationId, merchantId),
    plainUid: merchantId,
    // Svix refuses some control characters in names; none is of use.
    name: name.replaceAll(/\p{Cc}/gu, ' ').trim() || merchantId,
    metadata: { [INSTALLATION]: installationId, [MERCHANT]: merchantId },
  };
}

export type SvixApplication = Awaited<ReturnType<SvixClient['application']['get']>>;

/**
 * Makes the merchant's application unless it is there, and gives it the merchant's present name. One that the first release
 * made (its uid is the merchant's id alone) is taken over if its metadata says that it is this installation's; whose it is
 * otherwise nobody can tell, so it stays as it is until somebody says `chokin webhooks adopt`.
 */
export async function ensureApplication(svix: SvixClient, identity: ApplicationIdentity): Promise<void> {
  const { uid, name, metadata, plainUid } = identity;
  const found = await findApplication(svix, uid);
  if (found !== null) {
    if (found.name !== name || !isOurs(found, identity)) await svix.application.patch(uid, { name, metadata });
    return;
  }
  const plain = await findApplication(svix, plainUid);
  if (plain !== null && isOurs(plain, identity)) await takeOver(svix, plain, identity);
  else await svix.application.getOrCreate({ uid, name, metadata });
}

/** Gives an application our uid, name and mark. Whoever asks for its former uid finds nothing from then on. */
export async function takeOver(
  svix: SvixClient,
  { id }: SvixApplication,
  identity: ApplicationIdentity,
): Promise<void> {
  const { uid, name, metadata } = identity;
  await svix.application.patch(id, { uid, name, metadata });
}

/** Whether an application is marked as this installation's, for this merchant. */
export function isOurs({ metadata }: SvixApplication, { metadata: ours }: ApplicationIdentity): boolean {
  return metadata[INSTALLATION] === ours[INSTALLATION] && metadata[MERCHANT] === ours[MERCHANT];
}

/** Whether an application is marked as any installation's. */
export function isMarked({ metadata }: SvixApplication): boolean {
  return metadata[INSTALLATION] !== undefined;
}

export async function findApplication(svix: SvixClient, idOrUid: string): Promise<SvixApplication | null> {
  try {
    return await svix.application.get(idOrUid);
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}
