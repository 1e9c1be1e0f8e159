import { autocommit } from '../../db/transaction.ts';
import { endpointPlace } from '../embedded/endpoint-store.ts';
import { storeHeaders } from '../header-store.ts';
import { type ApplicationIdentity, ensureApplication } from '../svix/applications.ts';
import { copyTypes, forgetCached, type SvixEndpoint } from '../svix/endpoints.ts';
import { readHeaders } from '../svix/single.ts';
import { noteEndpoint } from '../svix/store.ts';
import {
  areSame,
  embeddedIdOf,
  headersOrNull,
  isMovedAway,
  listIfThere,
  type MovedSettings,
  type MoveOptions,
  type MoveStep,
  openOrNull,
  uidAtSvix,
} from './move.ts';
import { type MovableEndpoint, markMoved, selectMovable } from './store.ts';

/** Takes a merchant's endpoints from the embedded sender to Svix. @throws {unknown} what Svix's client throws */
export async function moveToSvix(options: MoveOptions, identity: ApplicationIdentity): Promise<readonly MoveStep[]> {
  const { pool, account, clock, isDryRun } = options;
  const { uid, plainUid: merchantId } = identity;
  // A change that is made here after this time is newer than the settings that are copied.
  const movedAt = clock.now();
  const rows = await selectMovable(autocommit(pool), merchantId);
  if (rows.length > 0 && !isDryRun) {
    await account.ensureEventTypes();
    await ensureApplication(account.client, identity);
  }
  const known = await listIfThere(account.client, uid);
  const steps: MoveStep[] = [];
  for (const row of rows) {
    const existing = known.find((endpoint) => embeddedIdOf(endpoint) === row.endpointId) ?? null;
    steps.push(await moveOne({ ...options, uid, merchantId, movedAt }, row, existing));
  }
  const here = new Set(rows.map(({ endpointId }) => endpointId));
  for (const endpoint of known.filter((one) => isMovedAway(one) && !here.has(embeddedIdOf(one)))) {
    // The endpoint came from Svix and was deleted here, so Svix must not send to it any more.
    if (!isDryRun) {
      await account.client.endpoint.patch(uid, endpoint.id, { disabled: true, metadata: {} });
      await noteEndpoint(autocommit(pool), { merchantId, endpointId: endpoint.id }, true);
    }
    const { url, id: svixEndpointId } = endpoint;
    steps.push({ action: 'disabled', url, endpointId: null, svixEndpointId, problem: null });
  }
  return steps;
}

interface Context extends MoveOptions {
  /** The application's. */
  readonly uid: string;
  readonly merchantId: string;
  /** When its settings were read here. */
  readonly movedAt: Date;
}

async function moveOne(context: Context, row: MovableEndpoint, existing: SvixEndpoint | null): Promise<MoveStep> {
  const { box, merchantId, isDryRun, isAgain } = context;
  const step = { url: row.url, endpointId: row.endpointId, svixEndpointId: existing?.id ?? null, problem: null };
  const isNewer = row.movedAt === null || row.updatedAt > row.movedAt;
  // It was deleted at Svix after it was moved there; the move does not undo this.
  if (!isNewer && !isAgain && existing === null) return { ...step, action: 'skipped', problem: GONE };
  if (!isNewer && !isAgain && existing !== null && !isMovedAway(existing)) return { ...step, action: 'unchanged' };
  const secret = openOrNull(box, row.sealedSecret, endpointPlace(merchantId, row.endpointId));
  const headers = await headersOrNull(context, row.endpointId);
  if (secret === null || headers === null) return { ...step, action: 'skipped', problem: UNREADABLE };
  const settings = { ...row, headers };
  if (existing === null) {
    const made = isDryRun ? null : await create(context, row.endpointId, { settings, secret });
    return { ...step, svixEndpointId: made, action: 'created' };
  }
  const isSame = await isSameAtSvix(context, existing, { settings, secret });
  if (!isDryRun) {
    const ids = { endpointId: row.endpointId, svixEndpointId: existing.id };
    await update(context, ids, { settings, secret: isSame.secret ? null : secret });
  }
  return { ...step, action: isSame.settings && isSame.secret && !isMovedAway(existing) ? 'unchanged' : 'updated' };
}

const GONE = 'it was moved before and is gone at Svix; --again makes it anew';
const UNREADABLE = 'its secret or headers cannot be read with ENCRYPTION_KEY';

/** An endpoint of the embedded sender and its copy at Svix. */
interface BothIds {
  readonly endpointId: string;
  readonly svixEndpointId: string;
}

interface CopiedEndpoint {
  readonly settings: MovedSettings;
  readonly secret: string;
}

async function isSameAtSvix(
  { pool, account: { client }, box, uid, merchantId }: Context,
  existing: SvixEndpoint,
  { settings, secret }: CopiedEndpoint,
): Promise<{ readonly settings: boolean; readonly secret: boolean }> {
  const { url, description, eventTypes = null, disabled = false } = existing;
  const single = { svix: client, application: uid, merchantId, db: autocommit(pool), box };
  const known = Object.entries(await readHeaders(single, existing.id)).map(([name, value]) => [name, value ?? '']);
  const there = { url, description, eventTypes, disabled, headers: Object.fromEntries(known) };
  const { key } = await client.endpoint.getSecret(uid, existing.id);
  return { settings: areSame(there, settings), secret: key === secret };
}

async function create(context: Context, endpointId: string, { settings, secret }: CopiedEndpoint): Promise<string> {
  const { account, uid } = context;
  const { url, description, eventTypes } = settings;
  // Enabled at the end, after its headers are set: Svix may be the sender in use already.
  const plain = { url, description, disabled: true, ...copyTypes(eventTypes) };
  const { id } = await account.client.endpoint.create(uid, { ...plain, secret, uid: uidAtSvix(endpointId) });
  await finish(context, { endpointId, svixEndpointId: id }, settings);
  return id;
}

async function update(
  context: Context,
  ids: BothIds,
  { settings, secret }: { readonly settings: MovedSettings; readonly secret: string | null },
): Promise<void> {
  const { account, uid } = context;
  const { url, description, disabled, eventTypes } = settings;
  const { svixEndpointId: id } = ids;
  const patch = { url, description, disabled, ...copyTypes(eventTypes), metadata: {} };
  await account.client.endpoint.patch(uid, id, patch);
  if (secret !== null) await account.client.endpoint.rotateSecret(uid, id, { key: secret });
  await finish(context, ids, settings);
}

/** Its headers, and the notes that are kept here of what Svix has. */
async function finish(
  { pool, account: { client }, box, uid, merchantId, movedAt }: Context,
  { endpointId, svixEndpointId }: BothIds,
  { headers, disabled }: MovedSettings,
): Promise<void> {
  const db = autocommit(pool);
  await client.endpoint.setHeaders(uid, svixEndpointId, { headers: { ...headers } });
  await forgetCached(client, { application: uid, endpointId: svixEndpointId }, disabled);
  await storeHeaders(db, box, { merchantId, endpointId: svixEndpointId, headers });
  await noteEndpoint(db, { merchantId, endpointId: svixEndpointId }, disabled);
  await markMoved(db, { merchantId, endpointId }, movedAt);
}
