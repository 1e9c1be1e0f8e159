import { isStandardWebhooksSecret } from '../../crypto/standard-webhooks.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import { endpointPlace } from '../embedded/endpoint-store.ts';
import { endpointProblem } from '../endpoint-rules.ts';
import { storeHeaders } from '../header-store.ts';
import { type ApplicationIdentity, findApplication } from '../svix/applications.ts';
import { listAtSvix, type SvixEndpoint } from '../svix/endpoints.ts';
import { readHeaders } from '../svix/single.ts';
import { forgetEndpoint, forgetEndpointsBut } from '../svix/store.ts';
import {
  areSame,
  embeddedIdOf,
  headersOrNull,
  isMovedAway,
  MOVED_AWAY,
  type MovedSettings,
  type MoveOptions,
  type MoveStep,
  openOrNull,
} from './move.ts';
import { disableDeletedElsewhere, type MovableEndpoint, selectMovable, upsertMovedBack } from './store.ts';

/** Takes a merchant's endpoints from Svix to the embedded sender. @throws {unknown} what Svix's client throws */
export async function moveToEmbedded(
  options: MoveOptions,
  identity: ApplicationIdentity,
): Promise<readonly MoveStep[]> {
  const { pool, account, clock, isDryRun } = options;
  const { uid, plainUid: merchantId } = identity;
  const db = autocommit(pool);
  // Without an application nothing is at Svix; what is here stays as it is.
  if ((await findApplication(account.client, uid)) === null) {
    if (!isDryRun) await forgetEndpointsBut(db, merchantId, []);
    return [];
  }
  const rows = new Map((await selectMovable(db, merchantId)).map((row) => [row.endpointId, row]));
  const known = await listAtSvix(account.client, uid);
  const steps: MoveStep[] = [];
  for (const endpoint of known) {
    const row = rows.get(embeddedIdOf(endpoint)) ?? null;
    // It was moved here before. Whatever was changed or deleted here since is newer.
    if (isMovedAway(endpoint) && row?.movedAt == null) continue;
    steps.push(await moveOne({ ...options, uid, merchantId }, endpoint, row));
  }
  const there = new Set(known.map(embeddedIdOf));
  for (const { endpointId, url, movedAt } of rows.values()) {
    if (movedAt === null || there.has(endpointId)) continue;
    if (!isDryRun) await disableDeletedElsewhere(db, { merchantId, endpointId }, clock.now());
    steps.push({ action: 'disabled', url, endpointId, svixEndpointId: null, problem: null });
  }
  if (!isDryRun) {
    const ids = known.map(({ id }) => id);
    await forgetEndpointsBut(db, merchantId, ids);
  }
  return steps;
}

interface Context extends MoveOptions {
  /** The application's. */
  readonly uid: string;
  readonly merchantId: string;
}

async function moveOne(context: Context, endpoint: SvixEndpoint, row: MovableEndpoint | null): Promise<MoveStep> {
  const { pool, account, box, clock, allowPrivate, isDryRun, uid, merchantId } = context;
  const { client } = account;
  const { url, description, eventTypes = null, disabled = false, id: svixEndpointId } = endpoint;
  const endpointId = embeddedIdOf(endpoint);
  const step = { url, endpointId, svixEndpointId, problem: null };
  const { key: secret } = await client.endpoint.getSecret(uid, svixEndpointId);
  const headers = await headersOf(context, svixEndpointId);
  if (headers === null) return { ...step, action: 'skipped', problem: HIDDEN_HEADER };
  const settings = { url, description, eventTypes, disabled, headers };
  const problem = isStandardWebhooksSecret(secret) ? endpointProblem(settings, allowPrivate) : OTHER_SECRET;
  if (problem !== null) return { ...step, action: 'skipped', problem };
  const isSame = row !== null && (await isSameHere(context, row, { settings, secret }));
  if (!isDryRun) {
    const now = clock.now();
    await transaction(pool, async (tx) => {
      const sealedSecret = box.sealIfPossible(secret, endpointPlace(merchantId, endpointId));
      await upsertMovedBack(tx, { ...settings, merchantId, endpointId, sealedSecret }, now);
      await storeHeaders(tx, box, { merchantId, endpointId, headers });
      await forgetEndpoint(tx, merchantId, svixEndpointId);
    });
    await client.endpoint.patch(uid, svixEndpointId, { metadata: { ...endpoint.metadata, ...MOVED_AWAY } });
  }
  if (row === null) return { ...step, action: 'created' };
  return { ...step, action: isSame ? 'unchanged' : 'updated' };
}

const OTHER_SECRET = 'its secret is not of the kind that the embedded sender signs with (whsec_…)';
const HIDDEN_HEADER =
  "it has a header whose value was set in Svix's portal, and Svix shows it to nobody: set the headers by the API first";

/** An endpoint's headers; null if Svix hides the value of a header that we did not set. */
async function headersOf(
  { pool, account: { client: svix }, box, uid: application, merchantId }: Context,
  svixEndpointId: string,
): Promise<Readonly<Record<string, string>> | null> {
  const single = { svix, application, merchantId, db: autocommit(pool), box };
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(await readHeaders(single, svixEndpointId))) {
    if (value === null) return null;
    headers[name] = value;
  }
  return headers;
}

async function isSameHere(
  context: Context,
  row: MovableEndpoint,
  { settings, secret }: { readonly settings: MovedSettings; readonly secret: string },
): Promise<boolean> {
  const { box, merchantId } = context;
  const isSecretSame = openOrNull(box, row.sealedSecret, endpointPlace(merchantId, row.endpointId)) === secret;
  const headers = await headersOrNull(context, row.endpointId);
  return isSecretSame && headers !== null && areSame({ ...row, headers }, settings);
}
