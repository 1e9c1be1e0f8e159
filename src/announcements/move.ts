import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, transaction } from '../db/transaction.ts';
import { type SecretBox, UnreadableSecretError } from '../secret-box.ts';
import { isStandardWebhooksSecret } from '../standard-webhooks.ts';
import { endpointProblem } from './endpoint-rules.ts';
import { endpointPlace } from './endpoint-store.ts';
import {
  disableDeletedElsewhere,
  type MovableEndpoint,
  markMoved,
  selectMovable,
  upsertMovedBack,
} from './move-store.ts';
import type { EndpointInput } from './outgoing.ts';
import type { SvixAccount } from './svix.ts';
import { type ApplicationIdentity, ensureApplication, findApplication } from './svix-applications.ts';
import type { SvixClient } from './svix-client.ts';

/**
 * Takes a merchant's endpoints from one sender to the other: address, description, event types, secret, and whether they are
 * disabled. Only settings are copied, so messages under way finish where they are. To do it again changes what has changed
 * since and nothing else. Which sender sends is none of its business: that is the configuration's.
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
  /** Takes what is here for the newest, also of endpoints that were moved to Svix before. */
  readonly isAgain: boolean;
}

/** What became, or would become, of one endpoint on the side that it is moved to. */
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

type SvixEndpoint = Awaited<ReturnType<SvixClient['endpoint']['get']>>;

/** Svix refuses uids that begin with `ep_`, as its own ids and ours do. */
const UID_PREFIX = 'embedded-';
/** Marks an endpoint at Svix whose settings the embedded sender has taken over since. */
const MOVED_AWAY = { chokin_moved: 'embedded' };
const PAGE_SIZE = 250;
const MAX_PAGES = 20;

/** @throws what Svix's client throws */
export async function moveToSvix(options: MoveOptions, identity: ApplicationIdentity): Promise<readonly MoveStep[]> {
  const { pool, account, isDryRun } = options;
  const merchantId = identity.plainUid;
  const rows = await selectMovable(autocommit(pool), merchantId);
  if (rows.length > 0 && !isDryRun) {
    await account.ensureEventTypes();
    await ensureApplication(account.client, identity);
  }
  const known = await listAtSvix(account.client, identity.uid);
  const steps: MoveStep[] = [];
  for (const row of rows) steps.push(await toSvix(options, identity, row, counterpartOf(row, known)));
  const left = new Set(rows.map(({ endpointId }) => endpointId));
  for (const endpoint of known) {
    // Deleted here since it was moved here: Svix must not go on sending to it.
    if (endpoint.metadata.chokin_moved !== MOVED_AWAY.chokin_moved || left.has(embeddedIdOf(endpoint))) continue;
    if (!isDryRun) await account.client.endpoint.patch(identity.uid, endpoint.id, { disabled: true, metadata: {} });
    steps.push({ ...stepOf(endpoint, null), action: 'disabled' });
  }
  return steps;
}

async function toSvix(
  { pool, account: { client }, box, clock, isDryRun, isAgain }: MoveOptions,
  { uid, plainUid: merchantId }: ApplicationIdentity,
  row: MovableEndpoint,
  existing: SvixEndpoint | null,
): Promise<MoveStep> {
  const { endpointId, url, description, disabled } = row;
  const eventTypes = row.eventTypes === null ? null : [...row.eventTypes];
  const settings = { url, description, disabled, eventTypes, metadata: {} };
  const step = { url, endpointId, svixEndpointId: existing?.id ?? null, problem: null };
  const isMovedAway = existing?.metadata.chokin_moved === MOVED_AWAY.chokin_moved;
  const isNewestHere = isAgain || isMovedAway || row.movedAt === null || row.updatedAt > row.movedAt;
  // What was changed or deleted at Svix since it was moved there is not undone.
  if (!isNewestHere) {
    if (existing !== null) return { ...step, action: 'unchanged' };
    return { ...step, action: 'skipped', problem: 'it was moved before and is gone at Svix; --again makes it anew' };
  }
  const secret = readSecret(box, row.sealedSecret, endpointPlace(merchantId, endpointId));
  if (secret === null) return { ...step, action: 'skipped', problem: UNREADABLE };
  if (existing === null) {
    const made = isDryRun
      ? null
      : await client.endpoint.create(uid, { ...settings, secret, uid: UID_PREFIX + endpointId });
    if (!isDryRun) await markMoved(autocommit(pool), merchantId, endpointId, clock.now());
    return { ...step, svixEndpointId: made?.id ?? null, action: 'created' };
  }
  const isSecretSame = (await client.endpoint.getSecret(uid, existing.id)).key === secret;
  const isSame = isSecretSame && isSameAs(existing, row) && !isMovedAway;
  if (!isDryRun) {
    if (!isSame) await client.endpoint.patch(uid, existing.id, settings);
    if (!isSecretSame) await client.endpoint.rotateSecret(uid, existing.id, { key: secret });
    await markMoved(autocommit(pool), merchantId, endpointId, clock.now());
  }
  return { ...step, action: isSame ? 'unchanged' : 'updated' };
}

/** @throws what Svix's client throws */
export async function moveToEmbedded(
  options: MoveOptions,
  identity: ApplicationIdentity,
): Promise<readonly MoveStep[]> {
  const { pool, account, clock, isDryRun } = options;
  const merchantId = identity.plainUid;
  // Without an application nothing was ever at Svix; what is here stays as it is.
  if ((await findApplication(account.client, identity.uid)) === null) return [];
  const rows = new Map((await selectMovable(autocommit(pool), merchantId)).map((row) => [row.endpointId, row]));
  const known = await listAtSvix(account.client, identity.uid);
  const steps: MoveStep[] = [];
  for (const endpoint of known) {
    const row = rows.get(embeddedIdOf(endpoint)) ?? null;
    // It was moved here before, and changed or deleted here since: what is here is newer.
    const isMovedAway = endpoint.metadata.chokin_moved === MOVED_AWAY.chokin_moved;
    if (isMovedAway && row?.movedAt == null) continue;
    steps.push(await toEmbedded(options, identity, endpoint, row));
  }
  const there = new Set(known.map(embeddedIdOf));
  for (const row of rows.values()) {
    if (row.movedAt === null || there.has(row.endpointId)) continue;
    if (!isDryRun) await disableDeletedElsewhere(autocommit(pool), merchantId, row.endpointId, clock.now());
    const { endpointId, url } = row;
    steps.push({ action: 'disabled', url, endpointId, svixEndpointId: null, problem: null });
  }
  return steps;
}

async function toEmbedded(
  { pool, account: { client }, box, clock, allowPrivate, isDryRun }: MoveOptions,
  { uid, plainUid: merchantId }: ApplicationIdentity,
  endpoint: SvixEndpoint,
  row: MovableEndpoint | null,
): Promise<MoveStep> {
  const endpointId = embeddedIdOf(endpoint);
  const step = stepOf(endpoint, endpointId);
  const settings = settingsOf(endpoint);
  const { key: secret } = await client.endpoint.getSecret(uid, endpoint.id);
  const problem = isStandardWebhooksSecret(secret)
    ? endpointProblem(settings, allowPrivate)
    : 'its secret is not of the kind that the embedded sender signs with (whsec_…)';
  if (problem !== null) return { ...step, action: 'skipped', problem };
  const place = endpointPlace(merchantId, endpointId);
  const isSame = row !== null && isSameAs(endpoint, row) && readSecret(box, row.sealedSecret, place) === secret;
  if (!isDryRun) {
    const sealedSecret = box.sealIfPossible(secret, place);
    await transaction(pool, (tx) =>
      upsertMovedBack(tx, merchantId, { ...settings, endpointId, sealedSecret }, clock.now()),
    );
    await client.endpoint.patch(uid, endpoint.id, { metadata: { ...endpoint.metadata, ...MOVED_AWAY } });
  }
  if (row === null) return { ...step, action: 'created' };
  return { ...step, action: isSame ? 'unchanged' : 'updated' };
}

/** Every endpoint of an application; none where there is no application. */
export async function listAtSvix(svix: SvixClient, application: string): Promise<readonly SvixEndpoint[]> {
  if ((await findApplication(svix, application)) === null) return [];
  const endpoints: SvixEndpoint[] = [];
  let iterator: string | null = null;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer: Awaited<ReturnType<SvixClient['endpoint']['list']>> = await svix.endpoint.list(application, {
      limit: PAGE_SIZE,
      iterator,
    });
    endpoints.push(...answer.data);
    if (answer.done) break;
    iterator = answer.iterator;
  }
  return endpoints;
}

/** What an endpoint at Svix is called here: by its former id if it came from here, else as Svix calls it. */
function embeddedIdOf({ id, uid }: SvixEndpoint): string {
  return uid?.startsWith(UID_PREFIX) === true ? uid.slice(UID_PREFIX.length) : id;
}

function counterpartOf({ endpointId }: MovableEndpoint, known: readonly SvixEndpoint[]): SvixEndpoint | null {
  return known.find((endpoint) => embeddedIdOf(endpoint) === endpointId) ?? null;
}

const UNREADABLE = 'its secret cannot be read with ENCRYPTION_KEY';

/** Null if it cannot be read: that keeps no other endpoint from being moved. */
function readSecret(box: SecretBox, sealed: string, place: string): string | null {
  try {
    return box.open(sealed, place);
  } catch (error) {
    if (error instanceof UnreadableSecretError) return null;
    throw error;
  }
}

function settingsOf({ url, description, eventTypes, disabled }: SvixEndpoint): EndpointInput {
  return { url, description, eventTypes: eventTypes ?? null, disabled: disabled ?? false };
}

function isSameAs(endpoint: SvixEndpoint, { url, description, eventTypes, disabled }: EndpointInput): boolean {
  const other = settingsOf(endpoint);
  const typesOf = (types: readonly string[] | null) => JSON.stringify(types === null ? null : [...types].sort());
  return (
    other.url === url &&
    other.description === description &&
    other.disabled === disabled &&
    typesOf(other.eventTypes) === typesOf(eventTypes)
  );
}

function stepOf({ id, url }: SvixEndpoint, endpointId: string | null): Omit<MoveStep, 'action'> {
  return { url, endpointId, svixEndpointId: id, problem: null };
}
