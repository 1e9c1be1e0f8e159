import { refuse } from '../../errors.ts';
import type { SvixAccount } from './account.ts';
import {
  type ApplicationIdentity,
  besideUid,
  findApplication,
  isMarked,
  isMarkedAs,
  type SvixApplication,
  takeOver,
} from './applications.ts';
import { listAtSvix } from './endpoints.ts';

/**
 * The first release gave a merchant's application the merchant's id as its uid and no mark, so two installations with one token
 * shared it. Only people know to which of them it belongs; at their command this takes it over for this installation.
 */
export interface Adoption {
  readonly outcome: 'none' | 'adoptable' | 'adopted' | 'ours already';
  /** The endpoints that come, or would come, with it. */
  readonly endpoints: readonly { readonly svixEndpointId: string; readonly url: string; readonly disabled: boolean }[];
}

/**
 * @throws {RefusalError} APPLICATION_OF_ANOTHER if another installation has marked it as its own, APPLICATION_IN_USE if our own application of
 *   the merchant has endpoints already, which would then be out of reach
 * @throws {unknown} what Svix's client throws
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
  if (isMarked(plain) && !isMarkedAs(plain, identity)) {
    refuse({ code: 'APPLICATION_OF_ANOTHER', uid: plainUid });
  }
  const endpoints = await endpointsOf(client, plain);
  const ownEndpoints = own === null ? [] : await endpointsOf(client, own);
  if (ownEndpoints.length > 0) {
    refuse({ code: 'APPLICATION_IN_USE', uid, urls: ownEndpoints.map(({ url }) => url) });
  }
  if (isDryRun) return { outcome: 'adoptable', endpoints };
  // Our own application has no endpoints, so nothing was delivered from it. It gets another uid and is kept for people to look at.
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
