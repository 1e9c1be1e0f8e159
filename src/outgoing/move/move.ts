import type { Clock } from '../../clock.ts';
import { type SecretBox, UnreadableSecretError } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit } from '../../db/transaction.ts';
import { selectHeaders } from '../header-store.ts';
import type { EndpointHeaders, EndpointInput } from '../outgoing.ts';
import type { SvixAccount } from '../svix/account.ts';
import { findApplication } from '../svix/applications.ts';
import type { SvixClient } from '../svix/client.ts';
import { listAtSvix, type SvixEndpoint } from '../svix/endpoints.ts';

/**
 * What both directions of a move share. A move copies only settings: address, description, event types, headers, secret, and
 * whether the endpoint is disabled. Messages under way are finished by the sender that has them. A second move copies only what
 * has changed since. The move does not decide which sender is in use; the configuration does.
 */
export interface MoveOptions {
  readonly pool: Pool;
  readonly account: SvixAccount;
  readonly box: SecretBox;
  readonly clock: Clock;
  /** Whether the embedded sender may call private addresses. */
  readonly allowPrivate: boolean;
  /** Only says what would be done. */
  readonly isDryRun: boolean;
  /** For a move to Svix: the settings here count as the newest, also for endpoints that were moved there before. */
  readonly isAgain: boolean;
}

/** What happened to one endpoint on the side that it is moved to, or would happen. */
export interface MoveStep {
  /** `disabled`: it was deleted on the other side. `skipped`: see `problem`. */
  readonly action: 'created' | 'updated' | 'unchanged' | 'disabled' | 'skipped';
  readonly url: string;
  /** Its id with the embedded sender; null for one that Svix alone knows. */
  readonly endpointId: string | null;
  /** Null while it is not there. */
  readonly svixEndpointId: string | null;
  readonly problem: string | null;
}

/** Needed because Svix refuses uids that begin with `ep_`, the prefix of its own ids and of ours. */
const UID_PREFIX = 'embedded-';
/** The metadata of an endpoint at Svix whose settings the embedded sender has taken over. */
export const MOVED_AWAY = { chokin_moved: 'embedded' };

/** The uid at Svix of an endpoint that came from the embedded sender. */
export function uidAtSvix(endpointId: string): string {
  return UID_PREFIX + endpointId;
}

/** The id here of an endpoint at Svix: its former id if it came from here, else Svix's id. */
export function embeddedIdOf({ id, uid }: SvixEndpoint): string {
  return uid?.startsWith(UID_PREFIX) === true ? uid.slice(UID_PREFIX.length) : id;
}

/** Whether the embedded sender has taken over the settings of an endpoint at Svix. */
export function isMovedAway({ metadata }: SvixEndpoint): boolean {
  return metadata.chokin_moved === MOVED_AWAY.chokin_moved;
}

/** Every endpoint of an application; none where there is no application. */
export async function listIfThere(svix: SvixClient, application: string): Promise<readonly SvixEndpoint[]> {
  return (await findApplication(svix, application)) === null ? [] : listAtSvix(svix, application);
}

/** All that is copied, except the secret. */
export interface MovedSettings extends EndpointInput {
  readonly headers: EndpointHeaders;
}

/** Whether two endpoints are the same to the merchant. */
export function areSame(one: MovedSettings, other: MovedSettings): boolean {
  return textOf(one) === textOf(other);
}

function textOf({ url, description, eventTypes, disabled, headers }: MovedSettings): string {
  const types = eventTypes === null ? null : [...eventTypes].sort();
  const pairs = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([url, description, types, disabled, pairs]);
}

/** The sealed text, opened; null if it cannot be read, so that the other endpoints can still be moved. */
export function openOrNull(box: SecretBox, sealed: string, place: string): string | null {
  try {
    return box.open(sealed, place);
  } catch (error) {
    if (error instanceof UnreadableSecretError) return null;
    throw error;
  }
}

/** The headers of an endpoint as we keep them; null if they cannot be read. */
export async function headersOrNull(
  { pool, box, merchantId }: Pick<MoveOptions, 'pool' | 'box'> & { readonly merchantId: string },
  endpointId: string,
): Promise<EndpointHeaders | null> {
  try {
    return await selectHeaders(autocommit(pool), box, { merchantId, endpointId });
  } catch (error) {
    if (error instanceof UnreadableSecretError) return null;
    throw error;
  }
}
