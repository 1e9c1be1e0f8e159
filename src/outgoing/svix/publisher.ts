import type { Clock } from '../../clock.ts';
import type { Tx } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Tracing } from '../../telemetry/tracing.ts';
import { idForSvix } from '../message-ids.ts';
import type { OutgoingMessage } from '../outgoing.ts';
import type { Publisher, SendResult } from '../publisher.ts';
import type { SvixAccount, SvixAnswer, SvixCall } from './account.ts';
import type { SvixFailure } from './answers.ts';
import { insertSent } from './store.ts';

/**
 * A wrong token is mended by a person: until then every call would fail the same way. No longer than this, for it may be
 * Svix that was wrong, and merchants are told within 30 s of its recovery (ticker.ts).
 */
const UNAUTHORIZED_SECONDS = 10;
const TOKEN_TOLD_EVERY_MS = 60_000;
/**
 * After so many calls in a row that came to nothing, Svix is away, and everything waits instead of every wallet trying for
 * itself. Short, so that it is found soon when it is back (see `ticker.ts`); one call that is answered ends it.
 */
const AWAY_AFTER_CALLS = 16;
export const AWAY_SECONDS = 10;

const MAX_NOTED = 10_000;

const SENT: SendResult = { kind: 'sent' };

/** Publishes through Svix, one message a call, under our own message id as event id and idempotency key. */
export class SvixPublisher implements Publisher {
  readonly concurrency = 16;
  readonly #account: SvixAccount;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #tracing: Tracing | null;
  #pausedUntilMs = 0;
  #unansweredInARow = 0;
  #tokenToldMs = Number.NEGATIVE_INFINITY;
  /** Svix's ids by ours, from handing a message over until that is recorded. */
  readonly #svixIds = new Map<string, string>();

  constructor(account: SvixAccount, clock: Clock, logger: Logger, tracing: Tracing | null = null) {
    this.#account = account;
    this.#clock = clock;
    this.#logger = logger;
    this.#tracing = tracing;
  }

  pausedForSeconds(): number {
    return Math.max(0, Math.ceil((this.#pausedUntilMs - this.#clock.now().getTime()) / 1000));
  }

  /** Stops at the first message that is not accepted. The ones before it are repeated next time, under their ids. */
  async send(messages: readonly OutgoingMessage[]): Promise<SendResult> {
    for (const message of messages) {
      const span = this.#tracing?.start('send to Svix', {
        kind: 'client',
        parent: message.traceParent,
        attributes: { 'chokin.event.type': message.eventType, 'chokin.message.id': message.messageId },
      });
      const result = await this.#sendOne(message);
      span?.end({ 'chokin.outcome': result.kind }, result.kind === 'failed' ? 'failed' : undefined);
      if (result.kind !== 'sent') return result;
    }
    return SENT;
  }

  /** Svix has the messages by now. One whose id there is not known here is asked for when somebody wants to see it. */
  async record(tx: Tx, messages: readonly OutgoingMessage[]): Promise<void> {
    const sent = messages.flatMap(({ merchantId, eventType, range = null, ...said }) => {
      const messageId = idForSvix(said.messageId);
      const svixMessageId = this.#svixIds.get(messageId);
      this.#svixIds.delete(messageId);
      return svixMessageId === undefined
        ? []
        : [{ merchantId, messageId, svixMessageId, eventType, endpointId: null, range }];
    });
    await insertSent(tx, sent, this.#clock.now());
  }

  /** Messages that are never recorded, since another process did it first, must not pile up. */
  #note(messageId: string, svixMessageId: string): void {
    if (this.#svixIds.size >= MAX_NOTED) this.#svixIds.clear();
    this.#svixIds.set(messageId, svixMessageId);
  }

  async #sendOne({ merchantId, eventType, ...said }: OutgoingMessage): Promise<SendResult> {
    const paused = this.pausedForSeconds();
    if (paused > 0) return { kind: 'deferred', retryAfterSeconds: paused, reason: 'sending to Svix is paused' };
    const messageId = idForSvix(said.messageId);
    const message = { eventId: messageId, eventType, payload: { ...JSON.parse(said.payload), id: messageId } };
    const created = await this.#call(merchantId, (svix, application) =>
      svix.message.create(application, message, { idempotencyKey: messageId }),
    );
    if (created.ok) {
      // Something in front of Svix may have answered in its place.
      if (created.value.id) this.#note(messageId, created.value.id);
      return SENT;
    }
    if (created.failure.kind === 'conflict') return this.#afterConflict(merchantId, messageId, eventType);
    return this.#toResult(created.failure);
  }

  /**
   * Svix knows the message. Usually that means it was sent; but a self-hosted Svix that fails between storing a message and
   * queueing it never sends it and refuses the repeat. Such a message has no attempts, so a resend is asked for: at
   * worst an endpoint gets it twice, under one id.
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
        this.#tellOfToken(failure.status);
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

  /** Once in a while: calls under way fail together, and the pause is short. */
  #tellOfToken(status: number): void {
    const nowMs = this.#clock.now().getTime();
    if (nowMs < this.#tokenToldMs + TOKEN_TOLD_EVERY_MS) return;
    this.#tokenToldMs = nowMs;
    this.#logger.error({ status }, 'Svix refuses our token: nothing is announced until SVIX_TOKEN is mended');
  }

  #pauseWhileAway(reason: string): SendResult {
    if (this.pausedForSeconds() === 0) {
      this.#logger.warn({ reason, pausedSeconds: AWAY_SECONDS }, 'Svix is away; announcements wait for it');
    }
    return this.#pause(AWAY_SECONDS, `Svix is away: ${reason}`);
  }

  /** What is about the account or the line, and not about one wallet: nothing at all is sent meanwhile. */
  #pause(seconds: number, reason: string): SendResult {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#clock.now().getTime() + seconds * 1000);
    return { kind: 'deferred', retryAfterSeconds: seconds, reason };
  }
}
