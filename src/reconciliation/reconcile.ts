import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { UnreadableSecretError } from '../crypto/secret-box.ts';
import { isUnavailable } from '../db/sqlstate.ts';
import { autocommit } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import type { Source } from '../merchants/source.ts';
import { type Listed, type ProviderApi, ProviderApiError } from '../providers/shared/api.ts';
import { type Ours, unconfirmed, unfinished } from './open-items.ts';
import type { Phase, Run } from './run.ts';
import type { ReconcileServices } from './services.ts';
import { settleRun } from './settle-run.ts';
import { endRun, getRun, lease, noteProblem, type RunKey, release } from './store.ts';
import { LeaseLostError, type PageToTake, takePage, type Work } from './take-page.ts';

export interface ReconcileOptions {
  /** Ends the work after the page at hand; the run goes on from there when somebody takes it up again. */
  readonly signal: AbortSignal;
  /** Called after every step, and before a wait for the provider. */
  readonly onProgress?: (progress: Progress) => void;
  /** How long to wait for what was missing to be applied, before the run is left for later. */
  readonly settleSeconds?: number;
}

export interface Progress {
  readonly run: Run;
  /** Set while the provider wants us to wait. */
  readonly waiting: { readonly seconds: number; readonly reason: string } | null;
}

/** How long a run whose process died waits for another; a living process renews its lease long before. */
const LEASE_SECONDS = 15;
const RENEW_MS = 4_000;
/** With waits that double from 1 s up to a minute, about five minutes. */
const MAX_TRIES = 10;
const LONGEST_WAIT_SECONDS = 60;
/** Each is a request, and all of a page are asked for again if one fails. */
const OURS_PAGE = 5;
const SETTLE_POLL_MS = 250;
const SETTLE_SECONDS = 30;

/**
 * Works on a run until it has ended, the signal says stop, the provider does not answer, or somebody else has it.
 * @returns the run as it stands; `state` tells whether it has ended, `problem` what keeps it from that
 */
export async function reconcile(services: ReconcileServices, key: RunKey, options: ReconcileOptions): Promise<Run> {
  const db = autocommit(services.pool);
  const leasedBy = randomUUID();
  if (!(await lease(db, key, leasedBy, LEASE_SECONDS))) return current(services, key);
  // Whoever fails to renew is stopped by `takePage`, which keeps nothing under a lease that is lost.
  const renewal = setInterval(() => void lease(db, key, leasedBy, LEASE_SECONDS).catch(() => {}), RENEW_MS);
  try {
    const source = await services.sources.find(db, key.merchantId, (await current(services, key)).sourceId);
    const api = source === null || !source.enabled ? null : services.connect(source);
    if (source === null || api === null) {
      await endRun(
        db,
        key,
        leasedBy,
        'failed',
        'the source is disabled, or this process has no API key of it',
        services.clock.now(),
      );
      return await current(services, key);
    }
    await walk(services, api, source, key, leasedBy, options);
  } catch (error) {
    await giveUp(services, key, leasedBy, error);
  } finally {
    clearInterval(renewal);
    await release(db, key, leasedBy);
  }
  return current(services, key);
}

/** What a person must mend ends the run; what passes by itself leaves it to be taken up again. */
async function giveUp(
  { pool, clock, logger }: ReconcileServices,
  key: RunKey,
  by: string,
  error: unknown,
): Promise<void> {
  if (error instanceof LeaseLostError) return;
  if (error instanceof UnreadableSecretError) {
    await endRun(autocommit(pool), key, by, 'failed', `the API key cannot be read: ${error.message}`, clock.now());
    return;
  }
  if (isUnavailable(error)) throw error;
  if (!(error instanceof ProviderApiError)) {
    logger.error({ ...key, err: error }, 'a reconciliation failed');
    const name = error instanceof Error ? error.name : 'Error';
    await endRun(autocommit(pool), key, by, 'failed', `an error of our own (${name}); the log has it`, clock.now());
    return;
  }
  logger.warn({ ...key, kind: error.kind, reason: error.message }, 'a provider’s API does not answer');
  const isFinal = error.kind === 'unauthorized' || error.kind === 'refused';
  if (isFinal) await endRun(autocommit(pool), key, by, 'failed', error.message, clock.now());
  else await noteProblem(autocommit(pool), key, by, error.message, clock.now());
}

async function walk(
  services: ReconcileServices,
  api: ProviderApi,
  source: Source,
  key: RunKey,
  leasedBy: string,
  options: ReconcileOptions,
): Promise<void> {
  while (!options.signal.aborted) {
    const run = await current(services, key);
    options.onProgress?.({ run, waiting: null });
    if (run.state !== 'running') return;
    const work = { run, source, api, leasedBy };
    if (run.phase === 'settling') {
      await settle(services, work, options);
      return;
    }
    const page = await patiently(run, options, () => nextPage(services, work));
    if (page === null) return;
    await takePage(services, work, page);
  }
}

async function listPage({ api, run }: Work): Promise<PageToTake> {
  const { phase, cursor } = run;
  const kind = api.kinds.find((one) => one === phase);
  invariant(kind !== undefined, `a run lists what its provider does not: ${phase}`);
  const { listed, next } = await api.list(kind, run, cursor);
  const following = api.kinds[api.kinds.indexOf(kind) + 1] ?? 'open';
  return { listed, unknown: [], phase: next === null ? following : kind, cursor: next };
}

/** Asks by their ids for things of ours that no list of the window shows. */
async function askForOurs({ api, run }: Work, ours: readonly Ours[], next: Phase): Promise<PageToTake> {
  const listed: Listed[] = [];
  const unknown: string[] = [];
  for (const { kind, objectId } of ours) {
    if (!api.kinds.includes(kind)) continue;
    const found = await api.retrieve(kind, objectId);
    if (found !== null) listed.push(found);
    // What is unfinished here may be in a state that no event tells of; what is paid may not.
    else if (run.phase === 'unlisted') unknown.push(objectId);
  }
  const cursor = ours.length < OURS_PAGE ? null : (ours.at(-1)?.cursor ?? null);
  return { listed, unknown, phase: cursor === null ? next : run.phase, cursor };
}

async function nextPage({ pool }: ReconcileServices, work: Work): Promise<PageToTake> {
  const db = autocommit(pool);
  const { run } = work;
  if (run.phase === 'open') return askForOurs(work, await unfinished(db, run, OURS_PAGE), 'unlisted');
  if (run.phase === 'unlisted') return askForOurs(work, await unconfirmed(db, run, OURS_PAGE), 'settling');
  return listPage(work);
}

/**
 * Asks again after the time the provider names, or after doubling waits.
 * @returns null if the signal ended the wait
 * @throws {ProviderApiError} what asking again does not help against, or has not
 */
async function patiently<T>(
  run: Run,
  { signal, onProgress }: ReconcileOptions,
  ask: () => Promise<T>,
): Promise<T | null> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await unlessAborted(ask(), signal);
    } catch (error) {
      const mayPass =
        error instanceof ProviderApiError && (error.kind === 'rate_limited' || error.kind === 'unavailable');
      if (!mayPass || tries >= MAX_TRIES) throw error;
      const seconds = Math.min(error.retryAfterSeconds ?? 2 ** (tries - 1), LONGEST_WAIT_SECONDS);
      onProgress?.({ run, waiting: { seconds, reason: error.message } });
      await pause(seconds * 1000, signal);
      if (signal.aborted) return null;
    }
  }
}

/** Waits until what was missing is applied. What takes longer is settled when the run is taken up again. */
async function settle(services: ReconcileServices, { run, leasedBy }: Work, options: ReconcileOptions): Promise<void> {
  const { signal, onProgress, settleSeconds = SETTLE_SECONDS } = options;
  let deadlineMs = performance.now() + settleSeconds * 1000;
  while (!signal.aborted) {
    const settled = await settleRun(services, run);
    const now = await current(services, run);
    onProgress?.({ run: now, waiting: null });
    if (run.isDryRun || now.outcomes.missing === 0) {
      await endRun(autocommit(services.pool), run, leasedBy, 'finished', null, services.clock.now());
      return;
    }
    if (settled > 0) deadlineMs = performance.now() + settleSeconds * 1000;
    if (performance.now() > deadlineMs) {
      const problem = 'what was missing is taken in, but not applied yet';
      await noteProblem(autocommit(services.pool), run, leasedBy, problem, services.clock.now());
      return;
    }
    await pause(SETTLE_POLL_MS, signal);
  }
}

/** Null as soon as the signal says stop: a process that ends does not wait for a provider that hangs. */
async function unlessAborted<T>(asked: Promise<T>, signal: AbortSignal): Promise<T | null> {
  // Nobody hears of a failure after that.
  asked.catch(() => {});
  const stopped = new AbortController();
  const aborted = once(signal, 'abort', { signal: stopped.signal }).then(
    () => null,
    () => null,
  );
  try {
    return signal.aborted ? null : await Promise.race([asked, aborted]);
  } finally {
    stopped.abort();
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, null, { signal }).catch(() => {});
}

async function current({ pool }: ReconcileServices, key: RunKey): Promise<Run> {
  const run = await getRun(autocommit(pool), key);
  invariant(run !== null, 'a run that is worked on is not there');
  return run;
}
