import type { Clock } from '../../clock.ts';
import type { Tx } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import { type Observe, UNOBSERVED } from '../../telemetry/observe.ts';
import { idForSvix } from '../message-ids.ts';
import type { OutgoingMessage } from '../outgoing.ts';
import type { Publisher, SendResult } from '../publisher.ts';
import type { SvixAccount, SvixAnswer, SvixCall } from './account.ts';
import type { SvixFailure } from './answers.ts';
import { insertSent } from './store.ts';

/**
 * How long to wait after Svix refused the token: until a person corrects it, every call would fail in the same way. Not longer,
 * since Svix itself may have been wrong, and merchants must be told within 30 s after it is well again (ticker.ts).
 */
const UNAUTHORIZED_SECONDS = 10;
const TOKEN_LOGGED_EVERY_MS = 60_000;
/**
 * After so many failed calls in a row Svix counts as away: everything pauses, instead of each wallet trying for itself. The
 * pause is short, so that its return is noticed soon (see `ticker.ts`). One call that is answered ends it.
 */
const AWAY_AFTER_CALLS = 16;
export const AWAY_SECONDS = 10;

const MAX_NOTED = 10_000;

const SENT: SendResult = { kind: 'sent' };

export interface SvixPublisherOptions {
  readonly account: SvixAccount;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observe?: Observe;
}

/** Publishes through Svix, one message in each call, with our message id as event id and idempotency key. */
export class SvixPublisher implements Publisher {
  readonly concurrency = 16;
  readonly #account: SvixAccount;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #observe: Observe;
  #pausedUntilMs = 0;
  #unansweredInARow = 0;
  #tokenLoggedMs = Number.NEGATIVE_INFINITY;
  /** Svix's ids by ours, from handing a message over until that is recorded. */
  readonly #svixIds = new Map<string, string>();

  constructor({ account, clock, logger, observe = UNOBSERVED }: SvixPublisherOptions) {
    this.#account = account;
    this.#clock = clock;
    this.#logger = logger;
    this.#observe = observe;
  }

  pausedForSeconds(): number {
    return Math.max(0, Math.ceil((this.#pausedUntilMs - this.#clock.now().getTime()) / 1000));
  }

  /**
   * Stops at the first message that is not accepted. The ones before it are passed over next time where Svix named them, else repeated under
   * their ids: a part may be thirty messages, which would never get through a line that loses one in ten if all had to in one go.
   */
  async send(messages: readonly OutgoingMessage[]): Promise<SendResult> {
    for (const message of messages) {
      const span = this.#observe.tracing.start('send to Svix', {
        kind: 'client',
        parent: message.traceParent,
        attributes: { 'chokin.event.type': message.eventType, 'chokin.message.id': message.messageId },
      });
      const result = await this.#sendOne(message);
      span.end({ 'chokin.outcome': result.kind }, result.kind === 'failed' ? 'failed' : undefined);
      if (result.kind !== 'sent') return result;
    }
    return SENT;
  }

  /** Notes the messages that Svix has. A message whose Svix id is unknown here is not noted; Svix is asked when it is needed. */
  async record(tx: Tx, messages: readonly OutgoingMessage[]): Promise<void> {
    const sent = messages.flatMap(({ merchantId, eventType, range = null, ...message }) => {
      const messageId = idForSvix(message.messageId);
      const svixMessageId = this.#svixIds.get(messageId);
      this.#svixIds.delete(messageId);
      return svixMessageId === undefined
        ? []
        : [{ merchantId, messageId, svixMessageId, eventType, endpointId: null, range }];
    });
    await insertSent(tx, sent, this.#clock.now());
  }

  /** Keeps Svix's id until `record`. Ids of messages that another process recorded first must not fill the memory. */
  #note(messageId: string, svixMessageId: string): void {
    if (this.#svixIds.size >= MAX_NOTED) this.#svixIds.clear();
    this.#svixIds.set(messageId, svixMessageId);
  }

  async #sendOne({ merchantId, eventType, ...message }: OutgoingMessage): Promise<SendResult> {
    const paused = this.pausedForSeconds();
    if (paused > 0) return { kind: 'deferred', retryAfterSeconds: paused, reason: 'sending to Svix is paused' };
    const messageId = idForSvix(message.messageId);
    if (this.#svixIds.has(messageId)) return SENT;
    // A message of the first release has its old id in the payload.
    const payload = messageId === message.messageId ? message.payload : withId(message.payload, messageId);
    const posted = await this.#call(merchantId, (svix, application) =>
      svix.postMessage(application, { messageId, eventType, payload }),
    );
    if (posted.ok) {
      // Without an id, a proxy in front of Svix may have answered.
      if (posted.value !== null) this.#note(messageId, posted.value);
      return SENT;
    }
    if (posted.failure.kind === 'conflict') return this.#afterConflict(merchantId, messageId, eventType);
    return this.#toResult(posted.failure);
  }

  /**
   * Svix knows the message already. Usually it was sent. But a self-hosted Svix that fails after it stored the message and
   * before it queued it never sends it, and refuses the repeat. Such a message has no attempts, so a resend is asked for. At
   * worst an endpoint gets the message twice, under one id.
   */
  async #afterConflict(merchantId: string, messageId: string, eventType: string): Promise<SendResult> {
    const attempts = await this.#call(merchantId, (svix, application) =>
      svix.messageAttempt.listByMsg(application, messageId, { limit: 1 }),
    );
    if (!attempts.ok) return this.#toResult(attempts.failure);
    if (attempts.value.data.length > 0) return SENT;
    const endpoints = await this.#call(merchantId, (svix, application) =>
      svix.endpoint.list(application, { limit: 250 }),
    );
    if (!endpoints.ok) return this.#toResult(endpoints.failure);
    for (const { id, disabled, eventTypes } of endpoints.value.data) {
      if (disabled === true || (eventTypes && !eventTypes.includes(eventType))) continue;
      this.#logger.warn({ merchantId, messageId, endpointId: id }, 'Svix had stored a message without sending it');
      const resent: SvixAnswer<unknown> = await this.#call(merchantId, (svix, application) =>
        svix.messageAttempt.resend(application, messageId, id),
      );
      if (!resent.ok) return this.#toResult(resent.failure);
    }
    return SENT;
  }

  async #call<T>(merchantId: string, make: SvixCall<T>): Promise<SvixAnswer<T>> {
    const answer = await this.#account.call(merchantId, make);
    const isAnswered = answer.ok || answer.failure.kind !== 'unavailable';
    this.#unansweredInARow = isAnswered ? 0 : this.#unansweredInARow + 1;
    return answer;
  }

  #toResult(failure: SvixFailure): SendResult {
    switch (failure.kind) {
      case 'rateLimited':
        return this.#pause(failure.retryAfterSeconds, 'Svix limits the rate (429)');
      case 'unauthorized':
        this.#logToken(failure.status);
        return this.#pause(UNAUTHORIZED_SECONDS, `Svix refuses our token (${failure.status})`);
      case 'refused':
        return { kind: 'failed', permanent: true, reason: `Svix answered ${failure.status}: ${failure.detail}` };
      case 'conflict':
      case 'notFound':
        return { kind: 'failed', permanent: false, reason: `Svix answered ${failure.kind}` };
      case 'unavailable':
        if (this.#unansweredInARow >= AWAY_AFTER_CALLS) return this.#pauseWhileAway(failure.reason);
        return { kind: 'failed', permanent: false, reason: failure.reason };
    }
  }

  /** Logs that the token is refused, but not each time: many calls fail together, and the pause is short. */
  #logToken(status: number): void {
    const nowMs = this.#clock.now().getTime();
    if (nowMs < this.#tokenLoggedMs + TOKEN_LOGGED_EVERY_MS) return;
    this.#tokenLoggedMs = nowMs;
    this.#logger.error({ status }, 'Svix refuses our token: nothing is announced until SVIX_TOKEN is mended');
  }

  #pauseWhileAway(reason: string): SendResult {
    if (this.pausedForSeconds() === 0) {
      this.#logger.warn({ reason, pausedSeconds: AWAY_SECONDS }, 'Svix is away; the outbox waits for it');
    }
    return this.#pause(AWAY_SECONDS, `Svix is away: ${reason}`);
  }

  /** For failures of the account or the network, which concern every wallet: nothing is sent for so many seconds. */
  #pause(seconds: number, reason: string): SendResult {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#clock.now().getTime() + seconds * 1000);
    return { kind: 'deferred', retryAfterSeconds: seconds, reason };
  }
}

function withId(payload: string, id: string): string {
  return JSON.stringify({ ...JSON.parse(payload), id });
}
