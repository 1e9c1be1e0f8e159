import { z } from 'zod';
import type { Clock } from '../../clock.ts';
import type { SecretBox } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit, type Queryable } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { EntryRange, OutgoingMessage, WebhookEndpoint } from '../outgoing.ts';
import { knownMessagesIn } from '../recovery/known-messages.ts';
import type { KeptPage, MissedSent, Postponed, RecoverySender } from '../recovery/recover.ts';
import type { ClaimedRecovery } from '../recovery/store.ts';
import type { SvixAccount } from './account.ts';
import { readSvixFailure, type SvixFailure } from './answers.ts';
import { toEndpoint } from './endpoints.ts';
import { foundBySvix } from './refusals.ts';
import { copyEndpoint, copyUid, type SingleOptions, sendToCopy, singleUid } from './single.ts';
import { insertSent, type SentMessage, selectSent } from './store.ts';

/**
 * Svix's part of a recovery. Svix's own `recover` sends again only what was tried and failed within 14 days, and
 * `replay-missing` exists only in the cloud. So the messages are listed, and a resend is asked for each that has no successful
 * attempt. Svix tries such a resend once.
 */

const PAGE_SIZE = 25;
const AT_A_TIME = 4;
const AGAIN_SECONDS = 30;
const SUCCESS = 0;
/**
 * The window is widened by this, since Svix's clock is not ours and it compares times by ids, which are less exact. A message
 * that is listed twice does no harm: the second time it is found to be received.
 */
const COARSE_MS = 1000;

export interface SvixRecoveryOptions {
  readonly pool: Pool;
  readonly account: SvixAccount;
  readonly box: SecretBox;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class SvixRecovery implements RecoverySender {
  readonly #options: SvixRecoveryOptions;
  readonly #db: Queryable;

  constructor(options: SvixRecoveryOptions) {
    this.#options = options;
    this.#db = autocommit(options.pool);
  }

  async endpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null> {
    const answer = await this.#options.account.call(merchantId, (svix, application) =>
      svix.endpoint.get(application, endpointId),
    );
    const endpoint = foundBySvix(answer);
    return endpoint === null ? null : toEndpoint(endpoint, []);
  }

  async sendKept(recovery: ClaimedRecovery, { eventTypes }: WebhookEndpoint): Promise<KeptPage> {
    const { merchantId, endpointId, since, until, place } = recovery;
    const types = eventTypes === null ? {} : { eventTypes: [...eventTypes] };
    const before = new Date(until.getTime() + COARSE_MS);
    const window = { limit: PAGE_SIZE, iterator: place, after: since, before, withContent: true };
    const answer = await this.#options.account.call(merchantId, async (svix, application) => {
      const page = await svix.message.list(application, { ...window, ...types });
      for (const message of page.data) {
        await insertSent(this.#db, toSent(merchantId, message), message.timestamp);
      }
      const ids = page.data.map(({ id }) => id);
      const at = { svix, application, endpoint: endpointId };
      return { place: page.done ? null : page.iterator, resent: await this.#resendAll(at, ids) };
    });
    return answer.ok ? { kind: 'done', ...answer.value } : this.#postponed(recovery, answer.failure);
  }

  findKnown() {
    return knownMessagesIn('svix_message', this.#db);
  }

  async sendMissed(
    recovery: ClaimedRecovery,
    _endpoint: WebhookEndpoint,
    { known, made }: { readonly known: readonly string[]; readonly made: readonly OutgoingMessage[] },
  ): Promise<MissedSent> {
    const { merchantId, endpointId, since, until } = recovery;
    const { account, box } = this.#options;
    if (known.length + made.length === 0) return { kind: 'done', resent: 0 };
    const answer = await account.call(merchantId, async (svix, application) => {
      const single = { svix, application, merchantId, db: this.#db, box };
      const notes = await Promise.all(known.map((messageId) => selectSent(this.#db, merchantId, messageId)));
      const sent = notes.filter((one) => one !== null);
      const alone = sent.filter((one) => one.endpointId !== null);
      // Messages of the window were handled in the first phase, and may still be on their way.
      const ofAll = sent.filter(
        ({ endpointId: only, sentAt }) => only === null && !(sentAt >= since && sentAt < until),
      );
      if (made.length + alone.length > 0) await copyEndpoint(single, await svix.endpoint.get(application, endpointId));
      for (const message of made) await this.#sendMade(single, endpointId, message);
      const copy = { svix, application: singleUid(application), endpoint: copyUid(endpointId) };
      const again = await this.#resendAll({ svix, application, endpoint: endpointId }, ofAll.map(idOf));
      return again + (await this.#resendAll(copy, alone.map(idOf)));
    });
    return answer.ok ? { kind: 'done', resent: answer.value } : this.#postponed(recovery, answer.failure);
  }

  /** A recovery waits as long as Svix does not answer, so the log must say what it waits for. */
  #postponed({ recoveryId, merchantId, endpointId }: ClaimedRecovery, failure: SvixFailure): Postponed {
    const seconds = failure.kind === 'rateLimited' ? failure.retryAfterSeconds : AGAIN_SECONDS;
    this.#options.logger.warn(
      { recoveryId, merchantId, endpointId, failure: failure.kind, seconds },
      'a recovery waits for Svix',
    );
    return { kind: 'postponed', seconds };
  }

  /** Sends a new message. If Svix has it already, it was made before a crash or for another endpoint, and is sent again. */
  async #sendMade(single: SingleOptions, endpointId: string, message: OutgoingMessage): Promise<void> {
    const { clock, logger } = this.#options;
    const { merchantId, messageId, eventType, range = null } = message;
    const { svix, application } = single;
    let svixMessageId: string;
    try {
      svixMessageId = await sendToCopy(single, endpointId, message);
    } catch (error) {
      const failure = readSvixFailure(error, clock.now());
      if (failure.kind === 'refused') {
        // Svix will never take it, and the messages after it must not wait for it.
        logger.error({ merchantId, messageId, reason: failure.detail }, 'Svix refuses a message of a recovery');
        return;
      }
      if (failure.kind !== 'conflict') throw error;
      svixMessageId = (await svix.message.get(singleUid(application), messageId, { withContent: false })).id;
      const copy = { svix, application: singleUid(application), endpoint: copyUid(endpointId) };
      await this.#resendUnlessReceived(copy, svixMessageId);
    }
    await insertSent(this.#db, [{ merchantId, messageId, svixMessageId, eventType, endpointId, range }], clock.now());
  }

  async #resendAll(at: SvixPlace, svixMessageIds: readonly string[]): Promise<number> {
    let resent = 0;
    for (let index = 0; index < svixMessageIds.length; index += AT_A_TIME) {
      const some = svixMessageIds.slice(index, index + AT_A_TIME);
      const done = await Promise.all(some.map((id) => this.#resendUnlessReceived(at, id)));
      resent += done.filter((isResent) => isResent).length;
    }
    return resent;
  }

  /** @returns false if the endpoint has received it, or if Svix does not keep its content any more */
  async #resendUnlessReceived({ svix, application, endpoint }: SvixPlace, svixMessageId: string): Promise<boolean> {
    try {
      const received = { endpointId: endpoint, status: SUCCESS, limit: 1, withContent: false };
      const { data } = await svix.messageAttempt.listByMsg(application, svixMessageId, received);
      if (data.length > 0) return false;
      await svix.messageAttempt.resend(application, svixMessageId, endpoint);
      return true;
    } catch (error) {
      const { kind } = readSvixFailure(error, this.#options.clock.now());
      if (kind === 'refused' || kind === 'notFound') return false;
      throw error;
    }
  }
}

const idOf = ({ svixMessageId }: { readonly svixMessageId: string }) => svixMessageId;

interface SvixPlace {
  readonly svix: SingleOptions['svix'];
  readonly application: string;
  readonly endpoint: string;
}

type SvixMessage = Awaited<ReturnType<SvixPlace['svix']['message']['get']>>;

/** The note of a message of ours; none for a message that somebody else made, for example in Svix's portal. */
function toSent(merchantId: string, { id, eventId, eventType, payload }: SvixMessage): readonly SentMessage[] {
  if (!eventId) return [];
  const changed = changedPayload.safeParse(payload);
  const range = changed.success && eventType === 'wallet.balance.changed' ? changed.data : null;
  return [{ merchantId, messageId: eventId, svixMessageId: id, eventType, endpointId: null, range }];
}

const changedPayload = z
  .object({
    data: z.object({ customer_id: z.string(), currency: z.string(), previous_version: z.int(), version: z.int() }),
  })
  .transform(({ data }): EntryRange => {
    return {
      customerId: data.customer_id,
      currency: data.currency,
      firstSeq: data.previous_version + 1,
      lastSeq: data.version,
    };
  });
