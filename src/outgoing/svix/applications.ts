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
  /** Marks the application as ours, whatever its uid is. */
  readonly metadata: Readonly<Record<typeof INSTALLATION | typeof MERCHANT, string>>;
}

const INSTALLATION = 'chokin_installation';
const MERCHANT = 'chokin_merchant';

/** Finds the identity of a merchant's application. */
export type IdentityOf = (merchantId: string) => Promise<ApplicationIdentity>;

/** The uid of a merchant's application at Svix. */
export function applicationUid(installationId: string, merchantId: string): string {
  return `${installationId}.${merchantId}`;
}

/**
 * The uid of another application of the same merchant. Its purpose stands before the first dot, since merchants' ids may hold
 * dots: after the id, it would be the uid of a merchant `shop.single`, who could then read what belongs to the merchant `shop`.
 * @throws {InvariantError} for a uid that begins with no installation
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

/** The uid, the name and the mark of a merchant's application at Svix. */
export function applicationIdentity(installationId: string, merchantId: string, name: string): ApplicationIdentity {
  return {
    uid: applicationUid(installationId, merchantId),
    plainUid: merchantId,
    // Svix refuses some control characters in names, and nobody needs any.
    name: name.replaceAll(/\p{Cc}/gu, ' ').trim() || merchantId,
    metadata: { [INSTALLATION]: installationId, [MERCHANT]: merchantId },
  };
}

export type SvixApplication = Awaited<ReturnType<SvixClient['application']['get']>>;

/**
 * Makes the merchant's application unless it exists, and gives it the merchant's present name. An application of the first
 * release (its uid is the merchant's id alone) is taken over if its metadata says that it belongs to this installation. Without
 * that nobody can know whose it is, so it stays as it is until somebody runs `chokin webhooks adopt`.
 */
export async function ensureApplication(svix: SvixClient, identity: ApplicationIdentity): Promise<void> {
  const { uid, name, metadata, plainUid } = identity;
  const found = await findApplication(svix, uid);
  if (found !== null) {
    if (found.name !== name || !isMarkedAs(found, identity)) await svix.application.patch(uid, { name, metadata });
    return;
  }
  const plain = await findApplication(svix, plainUid);
  if (plain !== null && isMarkedAs(plain, identity)) await takeOver(svix, plain, identity);
  else await svix.application.getOrCreate({ uid, name, metadata });
}

/** Gives an application our uid, name and mark. Its former uid names nothing from then on. */
export async function takeOver(
  svix: SvixClient,
  { id }: SvixApplication,
  identity: ApplicationIdentity,
): Promise<void> {
  const { uid, name, metadata } = identity;
  await svix.application.patch(id, { uid, name, metadata });
}

/** Whether an application is marked as this installation's, for this merchant. */
export function isMarkedAs({ metadata }: SvixApplication, identity: ApplicationIdentity): boolean {
  return (
    metadata[INSTALLATION] === identity.metadata[INSTALLATION] && metadata[MERCHANT] === identity.metadata[MERCHANT]
  );
}

/** Whether an application is marked as any installation's. */
export function isMarked({ metadata }: SvixApplication): boolean {
  return metadata[INSTALLATION] !== undefined;
}

/** An application by its id or uid; null if there is none. @throws {unknown} what Svix's client throws */
export async function findApplication(svix: SvixClient, idOrUid: string): Promise<SvixApplication | null> {
  try {
    return await svix.application.get(idOrUid);
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}
