import { randomBytes } from 'node:crypto';
import type { PgBoss } from 'pg-boss';
import type { Clock } from '../../clock.ts';
import type { SecretBox } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import type { ReadsInTurn } from '../../db/readers.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { newId } from '../../ids.ts';
import { exampleMessage } from '../catalogue.ts';
import {
  checkEndpoint,
  checkEventType,
  MAX_OLD_SECRETS,
  OLD_SECRET_SECONDS,
  refuseDisabled,
  refuseRotation,
  refuseUnlessWanted,
} from '../endpoint-rules.ts';
import { deleteHeaders, selectHeaders, storeHeaders } from '../header-store.ts';
import type {
  AttemptPage,
  AttemptQuery,
  EndpointInput,
  OutgoingWebhooks,
  Recovery,
  RecoveryWindow,
  WebhookEndpoint,
} from '../outgoing.ts';
import { passOverMerchant } from '../pass-over.ts';
import { askForRecovery, beginRecovery, checkWindow, untilSoon } from '../recovery/recover.ts';
import { selectRecovery } from '../recovery/store.ts';
import { selectAttempts } from './attempt-store.ts';
import { insertExample, makePending, selectEventType } from './delivery-store.ts';
import {
  deleteEndpoint,
  endpointPlace,
  insertEndpoint,
  oldSecretEnds,
  replaceSecret,
  selectEndpoint,
  selectEndpoints,
  selectSecret,
  updateEndpoint,
  withoutEndpoint,
} from './endpoint-store.ts';
import { wakeDeliverer } from './wake-deliverer.ts';

export interface DirectWebhooksOptions {
  readonly pool: Pool;
  readonly readers: ReadsInTurn;
  readonly boss: Pick<PgBoss, 'insert' | 'send'>;
  readonly clock: Clock;
  readonly allowPrivate: boolean;
  readonly box: SecretBox;
}

const MAX_ENDPOINTS = 50;
const SECRET_BYTES = 32;
/** Some ten thousand wallets. Usually the worker has passed over all but those of the last second. */
const PASS_OVER_MS = 2_000;

/** The merchants' outgoing webhooks without Svix: endpoints in Postgres, deliveries by our own workers. */
export class DirectWebhooks implements OutgoingWebhooks {
  readonly #options: DirectWebhooksOptions;

  constructor(options: DirectWebhooksOptions) {
    this.#options = options;
  }

  async createEndpoint(merchantId: string, input: EndpointInput, since?: Date): Promise<WebhookEndpoint> {
    const { pool, clock, allowPrivate, box, boss } = this.#options;
    const now = clock.now();
    checkEndpoint(input, allowPrivate);
    const window = since === undefined ? null : checkWindow({ since, until: null }, now);
    if (window !== null) refuseDisabled(input.disabled);
    const { length: endpoints } = await selectEndpoints(autocommit(pool), merchantId);
    if (endpoints >= MAX_ENDPOINTS) refuse({ code: 'ENDPOINT_LIMIT', most: MAX_ENDPOINTS });
    if (endpoints === 0) await this.#passOver(merchantId);
    const { headers = {}, ...rest } = input;
    const endpointId = newId('endpoint');
    const sealed = box.sealIfPossible(newSecret(), endpointPlace(merchantId, endpointId));
    await transaction(pool, async (tx) => {
      await insertEndpoint(tx, { ...rest, merchantId, endpointId, secret: sealed, now });
      await storeHeaders(tx, box, { merchantId, endpointId, headers });
      if (window !== null) {
        await beginRecovery(tx, { merchantId, endpointId, window: untilSoon(window, clock.now()) }, now);
      }
    });
    if (window !== null) await askForRecovery(boss);
    return { id: endpointId, ...rest, headerNames: Object.keys(headers), createdAt: now, updatedAt: now };
  }

  /** What was written until now, while nobody heard, is not for the first endpoint either; but no caller waits long for that. */
  async #passOver(merchantId: string): Promise<void> {
    const endsMs = performance.now() + PASS_OVER_MS;
    const hearing = { pool: this.#options.pool, publisher: { unheard: withoutEndpoint } };
    await passOverMerchant(hearing, merchantId, { goesOn: () => performance.now() < endsMs });
  }

  listEndpoints(merchantId: string): Promise<readonly WebhookEndpoint[]> {
    return this.#options.readers.read(merchantId, (db) => selectEndpoints(db, merchantId));
  }

  getEndpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null> {
    return selectEndpoint(autocommit(this.#options.pool), { merchantId, endpointId });
  }

  async updateEndpoint(
    merchantId: string,
    endpointId: string,
    change: Partial<EndpointInput>,
  ): Promise<WebhookEndpoint | null> {
    const { pool, clock, allowPrivate, box } = this.#options;
    checkEndpoint(change, allowPrivate);
    const { headers, ...rest } = change;
    return transaction(pool, async (tx) => {
      const endpoint = await selectEndpoint(tx, { merchantId, endpointId }, 'for update');
      if (endpoint === null) return null;
      if (headers !== undefined) await storeHeaders(tx, box, { merchantId, endpointId, headers });
      const headerNames = headers === undefined ? endpoint.headerNames : Object.keys(headers);
      const changed = { ...endpoint, ...rest, headerNames, updatedAt: clock.now() };
      await updateEndpoint(tx, merchantId, changed);
      return changed;
    });
  }

  deleteEndpoint(merchantId: string, endpointId: string): Promise<boolean> {
    // A delivery under way locks the same rows in the opposite order; after a deadlock the loser runs again.
    return transaction(this.#options.pool, async (tx) => {
      const isDeleted = await deleteEndpoint(tx, merchantId, endpointId);
      if (isDeleted) await deleteHeaders(tx, merchantId, endpointId);
      return isDeleted;
    });
  }

  async getHeaders(merchantId: string, endpointId: string): Promise<Readonly<Record<string, string>> | null> {
    if ((await this.getEndpoint(merchantId, endpointId)) === null) return null;
    return selectHeaders(autocommit(this.#options.pool), this.#options.box, { merchantId, endpointId });
  }

  async getSecret(merchantId: string, endpointId: string): Promise<string | null> {
    const { pool, box } = this.#options;
    const stored = await selectSecret(autocommit(pool), merchantId, endpointId);
    return stored === null ? null : box.open(stored, endpointPlace(merchantId, endpointId));
  }

  rotateSecret(merchantId: string, endpointId: string): Promise<string | null> {
    const { pool, clock, box } = this.#options;
    const now = clock.now();
    return transaction(pool, async (tx) => {
      if ((await selectEndpoint(tx, { merchantId, endpointId }, 'for update')) === null) return null;
      const ends = await oldSecretEnds(tx, { merchantId, endpointId }, now);
      if (ends.length >= MAX_OLD_SECRETS) refuseRotation(ends[0] ?? null);
      const secret = newSecret();
      const sealed = box.sealIfPossible(secret, endpointPlace(merchantId, endpointId));
      const oldUntil = new Date(now.getTime() + OLD_SECRET_SECONDS * 1000);
      await replaceSecret(tx, { merchantId, endpointId }, { secret: sealed, oldUntil, now });
      return secret;
    });
  }

  listAttempts(merchantId: string, endpointId: string, query: AttemptQuery): Promise<AttemptPage | null> {
    return this.#options.readers.read(merchantId, async (db) => {
      if ((await selectEndpoint(db, { merchantId, endpointId })) === null) return null;
      return selectAttempts(db, { merchantId, endpointId }, query);
    });
  }

  /**
   * A message that has no tries left is tried once. Any other continues with the tries that it has left; a message that came
   * while the endpoint was disabled has all of them.
   */
  resend(merchantId: string, endpointId: string, messageId: string): Promise<boolean> {
    const { pool, boss } = this.#options;
    return transaction(pool, async (tx) => {
      const endpoint = await selectEndpoint(tx, { merchantId, endpointId }, 'for key share');
      if (endpoint === null) return false;
      refuseDisabled(endpoint.disabled);
      const eventType = await selectEventType(tx, merchantId, messageId);
      if (eventType === null) return false;
      refuseUnlessWanted(endpoint, eventType);
      const key = { merchantId, messageId, endpointId };
      if (!(await makePending(tx, key))) return false;
      await wakeDeliverer(boss, tx, key);
      return true;
    });
  }

  async sendTest(merchantId: string, endpointId: string, eventType: string): Promise<string | null> {
    const { pool, boss, clock } = this.#options;
    const type = checkEventType(eventType, 'event_type');
    return transaction(pool, async (tx) => {
      const endpoint = await selectEndpoint(tx, { merchantId, endpointId }, 'for key share');
      if (endpoint === null) return null;
      refuseUnlessWanted(endpoint, type);
      const now = clock.now();
      const messageId = newId('message');
      const message = exampleMessage(type, { merchantId, messageId, at: now });
      await insertExample(tx, endpointId, { message, now });
      await wakeDeliverer(boss, tx, { merchantId, messageId, endpointId });
      return messageId;
    });
  }

  async recover(merchantId: string, endpointId: string, window: RecoveryWindow): Promise<Recovery | null> {
    const { pool, boss, clock } = this.#options;
    const begun = await transaction(pool, async (tx) => {
      const endpoint = await selectEndpoint(tx, { merchantId, endpointId }, 'for key share');
      if (endpoint === null) return null;
      refuseDisabled(endpoint.disabled);
      const now = clock.now();
      return beginRecovery(tx, { merchantId, endpointId, window: checkWindow(window, now) }, now);
    });
    if (begun !== null) await askForRecovery(boss);
    return begun;
  }

  getRecovery(merchantId: string, endpointId: string, recoveryId: string): Promise<Recovery | null> {
    return selectRecovery(autocommit(this.#options.pool), { merchantId, endpointId, recoveryId });
  }

  async portalUrl(): Promise<string> {
    return refuse({ code: 'PORTAL_NEEDS_SVIX' });
  }

  /** Nothing to stop: the connections to endpoints belong to the sender. */
  async close(): Promise<void> {}
}

function newSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
}
