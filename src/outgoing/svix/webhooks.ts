import type { PgBoss } from 'pg-boss';
import type { Clock } from '../../clock.ts';
import type { SecretBox } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import { type ReadsInTurn, readingBy, turnForEach } from '../../db/readers.ts';
import { autocommit, type Queryable } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { newId } from '../../ids.ts';
import { exampleMessage } from '../catalogue.ts';
import {
  checkEndpoint,
  checkEventType,
  OLD_SECRET_SECONDS,
  refuseDisabled,
  refuseRotation,
  refuseUnlessWanted,
} from '../endpoint-rules.ts';
import { deleteHeaders, selectHeaderNames, storeHeaders } from '../header-store.ts';
import { idForSvix } from '../message-ids.ts';
import type {
  AttemptPage,
  AttemptQuery,
  EndpointInput,
  OutgoingWebhooks,
  Recovery,
  RecoveryWindow,
  WebhookEndpoint,
} from '../outgoing.ts';
import { askForRecovery, beginRecovery, checkWindow, untilSoon } from '../recovery/recover.ts';
import { selectRecovery } from '../recovery/store.ts';
import type { SvixAccount, SvixAnswer, SvixCall } from './account.ts';
import { listSvixAttempts } from './attempts.ts';
import type { SvixClient } from './client.ts';
import { copyTypes, createAtSvix, forgetCached, listAtSvix, type SvixEndpoint, toEndpoint } from './endpoints.ts';
import { acceptedBySvix, foundBySvix, refuseFor, svixUnavailable } from './refusals.ts';
import { deleteCopy, readHeaders, refreshCopy, resendToOne, type SingleOptions, sendToOne } from './single.ts';
import { forgetEndpoint, hasCopy, insertSent, noteEndpoint, selectSent } from './store.ts';

const PORTAL_LINK_SECONDS = 3600;
/** The open-source server has no portal and answers with an address of Svix's documentation. */
const PORTAL_DOCUMENTATION = 'docs.svix.com';

export interface SvixWebhooksOptions {
  readonly account: SvixAccount;
  readonly pool: Pool;
  /** Where lists are read; by the pool unless given. */
  readonly readers?: ReadsInTurn;
  readonly boss: Pick<PgBoss, 'send'>;
  readonly clock: Clock;
  readonly allowPrivate: boolean;
  readonly box: SecretBox;
}

/** The merchants' outgoing webhooks as Svix keeps them. */
export class SvixWebhooks implements OutgoingWebhooks {
  readonly #options: SvixWebhooksOptions;
  readonly #db: Queryable;
  readonly #readers: ReadsInTurn;

  constructor(options: SvixWebhooksOptions) {
    this.#options = options;
    this.#db = autocommit(options.pool);
    this.#readers = options.readers ?? readingBy(options.pool);
  }

  async createEndpoint(merchantId: string, input: EndpointInput, since?: Date): Promise<WebhookEndpoint> {
    const { clock, allowPrivate, box, boss } = this.#options;
    checkEndpoint(input, allowPrivate);
    const window = since === undefined ? null : checkWindow({ since, until: null }, clock.now());
    if (window !== null) refuseDisabled(input.disabled);
    const { headers = {} } = input;
    const made = await this.#call(merchantId, (svix, application) => createAtSvix(svix, application, input));
    const endpoint = acceptedBySvix(made) ?? svixUnavailable();
    await storeHeaders(this.#db, box, { merchantId, endpointId: endpoint.id, headers });
    await noteEndpoint(this.#db, { merchantId, endpointId: endpoint.id }, input.disabled);
    if (window !== null) {
      // Messages that Svix got while it made the endpoint did not go to the endpoint.
      const now = clock.now();
      await beginRecovery(this.#db, { merchantId, endpointId: endpoint.id, window: untilSoon(window, now) }, now);
      await askForRecovery(boss);
    }
    return toEndpoint(endpoint, Object.keys(headers));
  }

  async listEndpoints(merchantId: string): Promise<readonly WebhookEndpoint[]> {
    const answer = await this.#call(merchantId, listAtSvix);
    const endpoints = foundBySvix(answer) ?? svixUnavailable();
    const names = await this.#readers.read(merchantId, (db) => selectHeaderNames(db, merchantId));
    return endpoints.map((endpoint) => toEndpoint(endpoint, names.get(endpoint.id) ?? []));
  }

  async getEndpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null> {
    return this.#shown(merchantId, await this.#find(merchantId, endpointId));
  }

  async updateEndpoint(
    merchantId: string,
    endpointId: string,
    change: Partial<EndpointInput>,
  ): Promise<WebhookEndpoint | null> {
    checkEndpoint(change, this.#options.allowPrivate);
    const { eventTypes, headers, ...rest } = change;
    const patch = { ...rest, ...(eventTypes === undefined ? {} : copyTypes(eventTypes)) };
    const answer = await this.#callOf(merchantId, endpointId, async (svix, application) => {
      // The patch comes first: if Svix refuses it, nothing else may change.
      const endpoint = await svix.endpoint.patch(application, endpointId, patch);
      if (headers !== undefined) {
        await svix.endpoint.setHeaders(application, endpointId, { headers: { ...headers } });
        await storeHeaders(this.#db, this.#options.box, { merchantId, endpointId, headers });
        await forgetCached(svix, { application, endpointId }, endpoint.disabled ?? false);
      }
      await refreshCopy(this.#single(svix, application, merchantId), endpoint);
      return endpoint;
    });
    const endpoint = acceptedBySvix(answer);
    if (endpoint !== null) await noteEndpoint(this.#db, { merchantId, endpointId }, endpoint.disabled ?? false);
    return this.#shown(merchantId, endpoint);
  }

  async deleteEndpoint(merchantId: string, endpointId: string): Promise<boolean> {
    const answer = await this.#callOf(merchantId, endpointId, async (svix, application) => {
      // The copy is deleted first: as long as the endpoint exists, the merchant can repeat the request after a failure.
      if (await hasCopy(this.#db, merchantId, endpointId))
        await deleteCopy(this.#single(svix, application, merchantId), endpointId);
      await svix.endpoint.delete(application, endpointId);
      return true;
    });
    const isDeleted = foundBySvix(answer) ?? false;
    if (isDeleted) {
      await deleteHeaders(this.#db, merchantId, endpointId);
      await forgetEndpoint(this.#db, merchantId, endpointId);
    }
    return isDeleted;
  }

  async getHeaders(merchantId: string, endpointId: string): Promise<Readonly<Record<string, string | null>> | null> {
    const answer = await this.#callOf(merchantId, endpointId, (svix, application) =>
      readHeaders(this.#single(svix, application, merchantId), endpointId),
    );
    return foundBySvix(answer);
  }

  async getSecret(merchantId: string, endpointId: string): Promise<string | null> {
    const answer = await this.#callOf(merchantId, endpointId, (svix, application) =>
      svix.endpoint.getSecret(application, endpointId),
    );
    return foundBySvix(answer)?.key ?? null;
  }

  async rotateSecret(merchantId: string, endpointId: string): Promise<string | null> {
    const answer = await this.#callOf(merchantId, endpointId, async (svix, application) => {
      await svix.endpoint.rotateSecret(application, endpointId, { gracePeriodSeconds: OLD_SECRET_SECONDS });
      return svix.endpoint.getSecret(application, endpointId);
    });
    // A 400 to a rotation can only be `limit_reached`; a request of wrong form gets 422.
    if (!answer.ok && answer.failure.kind === 'refused' && answer.failure.status === 400) refuseRotation(null);
    return foundBySvix(answer)?.key ?? null;
  }

  async listAttempts(merchantId: string, endpointId: string, query: AttemptQuery): Promise<AttemptPage | null> {
    // Nobody's turn is to be spent on waiting for Svix.
    const db = turnForEach(this.#readers, merchantId);
    const context = { merchantId, endpointId, db, notes: this.#db, now: this.#options.clock.now() };
    const answer = await this.#callOf(merchantId, endpointId, (svix, application) =>
      listSvixAttempts({ svix, application, ...context }, query),
    );
    return foundBySvix(answer);
  }

  async resend(merchantId: string, endpointId: string, messageId: string): Promise<boolean> {
    const id = idForSvix(messageId);
    const endpoint = await this.#find(merchantId, endpointId);
    if (endpoint === null) return false;
    refuseDisabled(endpoint.disabled ?? false);
    const sent = await selectSent(this.#db, merchantId, id);
    const message =
      sent ??
      foundBySvix(
        await this.#call(merchantId, (svix, application) => svix.message.get(application, id, { withContent: false })),
      );
    if (message === null) return false;
    refuseUnlessWanted(toEndpoint(endpoint, []), message.eventType);
    const resent: SvixAnswer<unknown> = await this.#call(merchantId, async (svix, application) => {
      const isSingle = sent !== null && sent.endpointId !== null;
      if (isSingle) return resendToOne(this.#single(svix, application, merchantId), endpoint, id);
      return svix.messageAttempt.resend(application, id, endpointId);
    });
    if (resent.ok) return true;
    const { failure } = resent;
    if (failure.kind === 'refused' && failure.status === 400) {
      refuse({ code: 'MESSAGE_FORGOTTEN' });
    }
    return failure.kind === 'notFound' || failure.kind === 'refused' ? false : refuseFor(failure);
  }

  async sendTest(merchantId: string, endpointId: string, eventType: string): Promise<string | null> {
    const type = checkEventType(eventType, 'event_type');
    const endpoint = await this.#find(merchantId, endpointId);
    if (endpoint === null) return null;
    refuseUnlessWanted(toEndpoint(endpoint, []), type);
    const now = this.#options.clock.now();
    const message = exampleMessage(type, { merchantId, messageId: newId('message'), at: now });
    const answer = await this.#call(merchantId, (svix, application) =>
      sendToOne(this.#single(svix, application, merchantId), endpoint, message),
    );
    const svixMessageId = acceptedBySvix(answer);
    if (!svixMessageId) return null;
    const { messageId } = message;
    await insertSent(
      this.#db,
      [{ merchantId, messageId, svixMessageId, eventType: type, endpointId, range: null }],
      now,
    );
    return messageId;
  }

  async recover(merchantId: string, endpointId: string, window: RecoveryWindow): Promise<Recovery | null> {
    const { clock, boss } = this.#options;
    const endpoint = await this.getEndpoint(merchantId, endpointId);
    if (endpoint === null) return null;
    refuseDisabled(endpoint.disabled);
    const now = clock.now();
    const begun = await beginRecovery(this.#db, { merchantId, endpointId, window: checkWindow(window, now) }, now);
    await askForRecovery(boss);
    return begun;
  }

  getRecovery(merchantId: string, endpointId: string, recoveryId: string): Promise<Recovery | null> {
    return selectRecovery(this.#db, { merchantId, endpointId, recoveryId });
  }

  async portalUrl(merchantId: string): Promise<string> {
    const answer = await this.#call(merchantId, (svix, application) =>
      svix.authentication.appPortalAccess(application, { expiry: PORTAL_LINK_SECONDS }),
    );
    const { url } = foundBySvix(answer) ?? svixUnavailable();
    if (URL.parse(url)?.hostname !== PORTAL_DOCUMENTATION) return url;
    return refuse({ code: 'PORTAL_NOT_IN_SVIX' });
  }

  /** Nothing to stop: the SDK keeps nothing open. */
  async close(): Promise<void> {}

  #call<T>(merchantId: string, make: SvixCall<T>): Promise<SvixAnswer<T>> {
    return this.#options.account.call(merchantId, make);
  }

  /**
   * A call about an endpoint by its id. Svix would also accept a uid, which endpoints have that were moved there. But our notes
   * and the copy are found by the id alone, so a uid counts as unknown.
   */
  async #callOf<T>(merchantId: string, endpointId: string, make: SvixCall<T>): Promise<SvixAnswer<T>> {
    if (!endpointId.startsWith('ep_')) return { ok: false, failure: { kind: 'notFound' } };
    return this.#call(merchantId, make);
  }

  async #find(merchantId: string, endpointId: string): Promise<SvixEndpoint | null> {
    return foundBySvix(
      await this.#callOf(merchantId, endpointId, (svix, application) => svix.endpoint.get(application, endpointId)),
    );
  }

  #single(svix: SvixClient, application: string, merchantId: string): SingleOptions {
    return { svix, application, merchantId, db: this.#db, box: this.#options.box };
  }

  async #shown(merchantId: string, endpoint: SvixEndpoint | null): Promise<WebhookEndpoint | null> {
    if (endpoint === null) return null;
    const names = await selectHeaderNames(this.#db, merchantId);
    return toEndpoint(endpoint, names.get(endpoint.id) ?? []);
  }
}
