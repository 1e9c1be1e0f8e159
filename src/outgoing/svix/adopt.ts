import { refuse } from '../../errors.ts';
import type { SvixAccount } from './account.ts';
import {
  type ApplicationIdentity,
  besideUid,
  findApplication,
  isMarked,
  isOurs,
  type SvixApplication,
  takeOver,
} from './applications.ts';
import { listAtSvix } from './endpoints.ts';

/**
 * The first release gave a merchant's application the merchant's id as its uid and no mark, so two installations with one token
 * shared it. Whose it is only people know: this takes it over for this installation when they say so.
 */
export interface Adoption {
  readonly outcome: 'none' | 'adoptable' | 'adopted' | 'ours already';
  /** The endpoints that come, or would come, with it. */
  readonly endpoints: readonly { readonly svixEndpointId: string; readonly url: string; readonly disabled: boolean }[];
}

/**
 * @throws {RefusalError} CONFLICT if another installation has marked the application as its own, or if our own application of
 *   the merchant has endpoints already, which would then be out of reach
 * @throws what Svix's client throws
 */
export async function adopt(
  { client }: SvixAccount,
  identity: ApplicationIdentity,
  isDryRun: boolean,
): Promise<Adoption> {
  const { uid, plainUid, name } = identity;
  const plain = await findApplication(client, plainUid);
  const own = await findApplication(client, uid);
  if (plain === null) return { outcome: own === null ? 'none' : 'ours already', endpoints: [] };
  if (isMarked(plain) && !isOurs(plain, identity)) {
    refuse('CONFLICT', `The application ${plainUid} at Svix is marked as that of another installation.`);
  }
  const endpoints = await endpointsOf(client, plain);
  const ownEndpoints = own === null ? [] : await endpointsOf(client, own);
  if (ownEndpoints.length > 0) {
    const urls = ownEndpoints.map(({ url }) => url).join(', ');
    refuse(
      'CONFLICT',
      `The application ${uid} has endpoints already (${urls}): delete them, or make the other's anew there.`,
    );
  }
  if (isDryRun) return { outcome: 'adoptable', endpoints };
  // Nothing was ever delivered from it. It makes way and stays, so that nothing is lost that somebody may want to look at.
  if (own !== null) {
    const aside = { uid: besideUid(uid, 'before-adoption'), name: `${name} (unused)` };
    await client.application.patch(own.id, aside);
  }
  await takeOver(client, plain, identity);
  return { outcome: 'adopted', endpoints };
}

async function endpointsOf(client: SvixAccount['client'], { id }: SvixApplication): Promise<Adoption['endpoints']> {
  const endpoints = await listAtSvix(client, id);
  return endpoints.map(({ id: svixEndpointId, url, disabled = false }) => ({ svixEndpointId, url, disabled }));
}
