import { randomBytes } from 'node:crypto';
import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, transaction } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { SecretBox } from '../secret-box.ts';
import { exampleMessage } from './catalogue.ts';
import { insertMessageFor, makePending, selectAttempts } from './delivery-store.ts';
import { insertDeliveryJobs } from './direct-publisher.ts';
import { checkEndpoint, checkEventType } from './endpoint-rules.ts';
import {
  deleteEndpoint,
  endpointPlace,
  insertEndpoint,
  replaceSecret,
  selectEndpoint,
  selectEndpoints,
  selectSecret,
  updateEndpoint,
} from './endpoint-store.ts';
import type { DeliveryAttempt, EndpointInput, OutgoingWebhooks, WebhookEndpoint } from './outgoing.ts';

export interface DirectWebhooksOptions {
  readonly pool: Pool;
  readonly boss: Pick<PgBoss, 'insert'>;
  readonly clock: Clock;
  readonly allowPrivate: boolean;
  readonly box: SecretBox;
}

const MAX_ENDPOINTS = 50;
const SECRET_BYTES = 32;
const OLD_SECRET_MS = 86_400_000;

/** The merchants' outgoing webhooks without Svix: endpoints in Postgres, deliveries by our own jobs. */
export class DirectWebhooks implements OutgoingWebhooks {
  readonly #options: DirectWebhooksOptions;

  constructor(options: DirectWebhooksOptions) {
    this.#options = options;
  }

  async createEndpoint(merchantId: string, input: EndpointInput): Promise<WebhookEndpoint> {
    const { pool, clock, allowPrivate, box } = this.#options;
    checkEndpoint(input, allowPrivate);
    if ((await this.listEndpoints(merchantId)).length >= MAX_ENDPOINTS) {
      refuse('CONFLICT', `There are ${MAX_ENDPOINTS} endpoints already, which is the most.`);
    }
    const now = clock.now();
    const id = newId('endpoint');
    const sealed = box.sealIfPossible(newSecret(), endpointPlace(merchantId, id));
    await insertEndpoint(autocommit(pool), merchantId, id, input, sealed, now);
    return { id, ...input, createdAt: now, updatedAt: now };
  }

  listEndpoints(merchantId: string): Promise<readonly WebhookEndpoint[]> {
    return selectEndpoints(autocommit(this.#options.pool), merchantId);
  }

  getEndpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null> {
    return selectEndpoint(autocommit(this.#options.pool), merchantId, endpointId);
  }

  async updateEndpoint(
    merchantId: string,
    endpointId: string,
    change: Partial<EndpointInput>,
  ): Promise<WebhookEndpoint | null> {
    const { pool, clock, allowPrivate } = this.#options;
    checkEndpoint(change, allowPrivate);
    return transaction(pool, async (tx) => {
      const endpoint = await selectEndpoint(tx, merchantId, endpointId, 'for update');
      if (endpoint === null) return null;
      const changed = { ...endpoint, ...change, updatedAt: clock.now() };
      await updateEndpoint(tx, merchantId, changed);
      return changed;
    });
  }

  deleteEndpoint(merchantId: string, endpointId: string): Promise<boolean> {
    // A delivery under way locks the same rows the other way round; the one that loses the deadlock runs again.
    return transaction(this.#options.pool, (tx) => deleteEndpoint(tx, merchantId, endpointId));
  }

  async getSecret(merchantId: string, endpointId: string): Promise<string | null> {
    const { pool, box } = this.#options;
    const stored = await selectSecret(autocommit(pool), merchantId, endpointId);
    return stored === null ? null : box.open(stored, endpointPlace(merchantId, endpointId));
  }

  async rotateSecret(merchantId: string, endpointId: string): Promise<string | null> {
    const { pool, clock, box } = this.#options;
    const now = clock.now();
    const secret = newSecret();
    const sealed = box.sealIfPossible(secret, endpointPlace(merchantId, endpointId));
    const oldUntil = new Date(now.getTime() + OLD_SECRET_MS);
    return (await replaceSecret(autocommit(pool), merchantId, endpointId, sealed, now, oldUntil)) ? secret : null;
  }

  async listAttempts(
    merchantId: string,
    endpointId: string,
    limit: number,
  ): Promise<readonly DeliveryAttempt[] | null> {
    if ((await this.getEndpoint(merchantId, endpointId)) === null) return null;
    return selectAttempts(autocommit(this.#options.pool), merchantId, endpointId, limit);
  }

  /**
   * A message whose tries were used up is tried once; another goes on with the tries it has left, which are all of them
   * for one that came while the endpoint was disabled.
   */
  resend(merchantId: string, endpointId: string, messageId: string): Promise<boolean> {
    const { pool, boss } = this.#options;
    return transaction(pool, async (tx) => {
      const endpoint = await selectEndpoint(tx, merchantId, endpointId, 'for key share');
      if (endpoint === null) return false;
      refuseDisabled(endpoint);
      const key = { merchantId, messageId, endpointId };
      if (!(await makePending(tx, key))) return false;
      await insertDeliveryJobs(boss, tx, [key]);
      return true;
    });
  }

  async sendTest(merchantId: string, endpointId: string, eventType: string): Promise<string | null> {
    const { pool, boss, clock } = this.#options;
    const type = checkEventType(eventType, 'event_type');
    return transaction(pool, async (tx) => {
      const endpoint = await selectEndpoint(tx, merchantId, endpointId, 'for key share');
      if (endpoint === null) return null;
      refuseDisabled(endpoint);
      const now = clock.now();
      const messageId = newId('message');
      await insertMessageFor(tx, endpointId, exampleMessage(type, { merchantId, messageId, at: now }), now);
      await insertDeliveryJobs(boss, tx, [{ merchantId, messageId, endpointId }]);
      return messageId;
    });
  }

  async portalUrl(): Promise<string> {
    return refuse(
      'NOT_IMPLEMENTED',
      'The webhook portal is Svix’s: set SVIX_TOKEN to have it. Without it, use the webhook-endpoints routes.',
    );
  }

  /** There is nothing to stop: connections to endpoints are the sender's. */
  async close(): Promise<void> {}
}

function refuseDisabled({ disabled }: WebhookEndpoint): void {
  if (disabled) refuse('CONFLICT', 'The endpoint is disabled. Enable it first.');
}

function newSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
}
