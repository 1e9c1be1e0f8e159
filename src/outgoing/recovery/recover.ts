import type { PgBoss } from 'pg-boss';
import type { Clock } from '../../clock.ts';
import { Failures } from '../../db/failures.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit, type Queryable, transaction } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { newId } from '../../ids.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { OutgoingMessage, Recovery, RecoveryWindow, WebhookEndpoint } from '../outgoing.ts';
import type { FindKnown } from './known-messages.ts';
import { missedPage } from './missed-entries.ts';
import {
  type ClaimedRecovery,
  claimRecovery,
  endRecovery,
  insertRecovery,
  nextRecoverySeconds,
  postponeRecovery,
  savePage,
} from './store.ts';

/** A recovery reaches back this far: so long are messages kept, and the notes of what was handed to Svix. */
const KEPT_DAYS = 30;
const DAY_MS = 86_400_000;
/**
 * Messages that are handed over while the endpoint is being made may miss it. Their transactions end well before this time is
 * over, so the recovery finds what they stored.
 */
const WAIT_SECONDS = 3;

export interface CheckedWindow {
  readonly since: Date;
  readonly until: Date;
}

/**
 * The window with an end: now, if the end is missing or in the future.
 * @throws {RefusalError} INVALID_FIELD for a window that is empty, or begins more than 30 days ago
 */
export function checkWindow({ since, until }: RecoveryWindow, now: Date): CheckedWindow {
  if (since.getTime() < now.getTime() - KEPT_DAYS * DAY_MS) {
    refuse({
      code: 'INVALID_FIELD',
      field: 'since',
      wants: `wants a time within the last ${KEPT_DAYS} days; nothing older is kept.`,
    });
  }
  const end = until === null || until > now ? now : until;
  if (since >= end) {
    refuse(
      until === null
        ? { code: 'INVALID_FIELD', field: 'since', wants: 'wants a time in the past.' }
        : { code: 'INVALID_FIELD', field: 'until', wants: 'wants a time after since.' },
    );
  }
  return { since, until: end };
}

/**
 * The window of a new endpoint ends a little later than now: messages that were handed over while the endpoint was being made
 * may have missed it, and have a later time than now.
 */
export function untilSoon({ since }: CheckedWindow, now: Date): CheckedWindow {
  return { since, until: new Date(now.getTime() + WAIT_SECONDS * 1000) };
}

export interface RecoveryRequest {
  readonly merchantId: string;
  readonly endpointId: string;
  readonly window: CheckedWindow;
}

/** Leaves a recovery to be worked on. @throws {RefusalError} RECOVERY_UNDER_WAY */
export async function beginRecovery(
  db: Queryable,
  { merchantId, endpointId, window }: RecoveryRequest,
  now: Date,
): Promise<Recovery> {
  const recovery = { merchantId, recoveryId: newId('recovery'), endpointId, ...window };
  const begun = await insertRecovery(db, recovery, { now, waitSeconds: WAIT_SECONDS });
  return begun ?? refuse({ code: 'RECOVERY_UNDER_WAY' });
}

/** Asks for a worker, after the commit. If the job is lost, the schedule makes another. */
export async function askForRecovery(boss: Pick<PgBoss, 'send'>): Promise<void> {
  await boss.send('recover-endpoints', {}, { startAfter: WAIT_SECONDS, singletonKey: 'asked' });
}

/** The sender cannot go on now. */
export interface Postponed {
  readonly kind: 'postponed';
  readonly seconds: number;
}

/** How many kept messages of a page were sent; `place` is where the next page begins, null if this was the last. */
export type KeptPage = { readonly kind: 'done'; readonly place: string | null; readonly resent: number } | Postponed;

/** How many of the messages that existed already were sent. */
export type MissedSent = { readonly kind: 'done'; readonly resent: number } | Postponed;

/**
 * What a sender knows how to do for a recovery. Everything may be repeated after a crash, and none of it sends a message
 * that the endpoint has received already.
 */
export interface RecoverySender {
  /** Null if it is not there any more. @throws {RefusalError} SVIX_BUSY or SVIX_UNAVAILABLE if Svix keeps it and does not answer */
  endpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null>;
  /** Sends a page of the kept messages of the window that the endpoint subscribes to. */
  sendKept(recovery: ClaimedRecovery, endpoint: WebhookEndpoint): Promise<KeptPage>;
  /** Looks among the messages that it has sent or keeps. */
  findKnown(): FindKnown;
  /** Sends messages to this endpoint alone: kept ones by their ids, and new ones. */
  sendMissed(
    recovery: ClaimedRecovery,
    endpoint: WebhookEndpoint,
    messages: { readonly known: readonly string[]; readonly made: readonly OutgoingMessage[] },
  ): Promise<MissedSent>;
}

export interface RecoverServices {
  readonly pool: Pool;
  readonly recoverySender: RecoverySender;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The wait after a failure, of ours or of the sender, that names no time itself. */
const AGAIN_SECONDS = 30;

/** The job is given up after an hour. */
const MOST_LOST_MS = 20 * 60_000;

/**
 * Works on every recovery that is due, a page of each in turn.
 * @returns seconds until one is due again; null if none is left
 * @throws {unknown} at the end, what failed first of those that could not be claimed; at once if the database is away
 */
export async function workOnRecoveries(services: RecoverServices, signal: AbortSignal): Promise<number | null> {
  const db = autocommit(services.pool);
  const failures = new Failures(MOST_LOST_MS);
  const claiming = { failures, broken: new Set<string>(), logger: services.logger };
  while (!signal.aborted) {
    const recovery = await claimRecovery(db, claiming);
    if (recovery === null) break;
    try {
      await workOnPage(services, recovery);
    } catch (error) {
      services.logger.error({ err: error, recoveryId: recovery.recoveryId }, 'a page of a recovery went wrong');
      // What cannot be put off stays claimed, and is due again when its lease is over.
      await failures.outlive(
        () => postponeRecovery(db, recovery, AGAIN_SECONDS),
        (err) => services.logger.warn({ err, recoveryId: recovery.recoveryId }, 'a recovery could not be put off'),
      );
    }
  }
  failures.rethrow();
  return nextRecoverySeconds(db);
}

async function workOnPage(services: RecoverServices, recovery: ClaimedRecovery): Promise<void> {
  const { pool, recoverySender: sender, clock } = services;
  const db = autocommit(pool);
  const endpoint = await sender.endpoint(recovery.merchantId, recovery.endpointId);
  if (endpoint === null) return endRecovery(db, recovery, { reason: 'the endpoint was removed', now: clock.now() });
  if (endpoint.disabled) return endRecovery(db, recovery, { reason: 'the endpoint is disabled', now: clock.now() });
  if (recovery.phase === 'kept') {
    const page = await sender.sendKept(recovery, endpoint);
    if (page.kind === 'postponed') return postponeRecovery(db, recovery, page.seconds);
    const phase = page.place === null ? 'missing' : 'kept';
    const done = { phase, place: page.place, resent: page.resent, rebuilt: 0 } as const;
    return transaction(pool, (tx) => savePage(tx, recovery, done));
  }
  const wantsChanges = endpoint.eventTypes?.includes('wallet.balance.changed') ?? true;
  if (!wantsChanges) return endRecovery(db, recovery, { reason: null, now: clock.now() });
  const missed = await missedPage(db, recovery, sender.findKnown());
  const sent = await sender.sendMissed(recovery, endpoint, missed);
  if (sent.kind === 'postponed') return postponeRecovery(db, recovery, sent.seconds);
  const { place, made } = missed;
  await transaction(pool, async (tx) => {
    const page = { phase: 'missing', place, resent: sent.resent, rebuilt: made.length } as const;
    await savePage(tx, recovery, page);
    if (place === null) await endRecovery(tx, recovery, { reason: null, now: clock.now() });
  });
}
