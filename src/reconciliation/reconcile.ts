import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { UnreadableSecretError } from '../crypto/secret-box.ts';
import { isUnavailable } from '../db/sqlstate.ts';
import { autocommit, transaction } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { ACCOUNT_WITHIN_MS, accountOf, noteFoundAccount } from '../merchants/api-account.ts';
import type { Source, SourceKey } from '../merchants/source.ts';
import { type Listed, type ProviderApi, ProviderApiError } from '../providers/shared/api.ts';
import { SETTLED_AT_ONCE } from './item-store.ts';
import { type KnownObject, unconfirmed, unfinished } from './open-items.ts';
import type { Phase, Run } from './run.ts';
import type { ReconcileServices } from './services.ts';
import { settleRun } from './settle-run.ts';
import { endRun, getRun, lease, noteProblem, type RunKey, type RunLease, release } from './store.ts';
import { type LeasedRun, LeaseLostError, leaseOf, type PageToTake, takePage } from './take-page.ts';

export interface ReconcileOptions {
  /** Stops the work after the present page. The run stays `running`, and another call continues from there. */
  readonly signal: AbortSignal;
  /** Called after every step, and before a wait for the provider. */
  readonly onProgress?: (progress: Progress) => void;
  /** How many seconds to wait, without progress, for what was missing to be applied before the run is left for later. */
  readonly settleSeconds?: number;
}

export interface Progress {
  readonly run: Run;
  /** Set while the provider wants us to wait. */
  readonly waiting: { readonly seconds: number; readonly reason: string } | null;
}

/** After this time without renewal another process may take the run: the first one has died. */
const LEASE_SECONDS = 15;
const RENEW_MS = 4_000;
/** About five minutes, since the waits double from 1 s up to a minute. */
const MAX_TRIES = 10;
const LONGEST_WAIT_SECONDS = 60;
/** Small, because each object is a request of its own, and if one fails all of the page are asked for again. */
const RETRIEVED_PAGE = 5;
const SETTLE_POLL_MS = 250;
const SETTLE_SECONDS = 30;

/** How long to settle where somebody looks on: a payment that was taken in may first wait for its name. */
export function settleSecondsFor(namingWaitSeconds: number): number {
  return Math.max(SETTLE_SECONDS, namingWaitSeconds + 10);
}

/**
 * Works on a run until it has ended, the signal aborts, the provider does not answer, or another process holds the run.
 * @returns the run as it stands: `state` tells whether it has ended, `problem` why not
 * @throws {InvariantError} if there is no such run
 * @throws {Error} if the database cannot be reached
 */
export async function reconcile(services: ReconcileServices, key: RunKey, options: ReconcileOptions): Promise<Run> {
  const db = autocommit(services.pool);
  const held: RunLease = { merchantId: key.merchantId, runId: key.runId, leasedBy: randomUUID() };
  if (!(await lease(db, held, LEASE_SECONDS))) return current(services, key);
  // A failed renewal needs no answer: if the lease is lost, `takePage` rolls its page back.
  const renewal = setInterval(() => void lease(db, held, LEASE_SECONDS).catch(() => {}), RENEW_MS);
  try {
    const source = await services.sources.find(db, key.merchantId, (await current(services, key)).sourceId);
    const api = source === null || !source.enabled ? null : services.connect(source);
    if (source === null || api === null) {
      await fail(services, held, 'the source is disabled, or this process has no API key of it');
      return await current(services, key);
    }
    const problem = await accountProblem(services, source, api);
    if (problem === null) await walk(services, { api, source, held }, options);
    else await fail(services, held, problem);
  } catch (error) {
    await giveUp(services, held, error);
  } finally {
    clearInterval(renewal);
    await release(db, held);
  }
  return current(services, key);
}

/**
 * What is wrong with whose account the API key opens: another source answers for it, and is compared itself. Where the provider
 * does not say, or not to this key, the comparison goes on without.
 */
async function accountProblem(services: ReconcileServices, source: Source, api: ProviderApi): Promise<string | null> {
  const { pool, clock, logger } = services;
  const asked = await accountOf(api, ACCOUNT_WITHIN_MS);
  if (asked.kind !== 'known') return null;
  const claim = { source, account: asked.account };
  const owner = await transaction(pool, (tx) => noteFoundAccount(tx, claim, clock.now()));
  if (owner === null) return null;
  const { merchantId, sourceId } = source;
  logger.warn({ merchantId, sourceId, owner: owner.sourceId }, 'two sources have one account at their provider');
  // Else nobody would compare the account. What the other one posted is not posted again.
  if (owner.merchantId === merchantId && !(await canBeCompared(services, owner))) return null;
  // Of another merchant this one is to learn nothing but that.
  const whose = owner.merchantId === merchantId ? owner.sourceId : "another merchant's source";
  return `the API key opens the account of ${whose}: one account is one source`;
}

async function canBeCompared({ pool, sources }: ReconcileServices, key: SourceKey): Promise<boolean> {
  const source = await sources.find(autocommit(pool), key.merchantId, key.sourceId);
  try {
    return source?.enabled === true && source.apiKey !== null;
  } catch (error) {
    if (error instanceof UnreadableSecretError) return false;
    throw error;
  }
}

/** Ends the run if a person must mend something first; else notes the problem, and the run is continued later. */
async function giveUp(services: ReconcileServices, held: RunLease, error: unknown): Promise<void> {
  const { pool, clock, logger } = services;
  const { merchantId, runId } = held;
  if (error instanceof LeaseLostError) return;
  if (error instanceof UnreadableSecretError) {
    return fail(services, held, `the API key cannot be read: ${error.message}`);
  }
  if (isUnavailable(error)) throw error;
  if (!(error instanceof ProviderApiError)) {
    logger.error({ merchantId, runId, err: error }, 'a reconciliation failed');
    const name = error instanceof Error ? error.name : 'Error';
    return fail(services, held, `an error of our own (${name}); the log has it`);
  }
  const { kind, message: problem } = error;
  logger.warn({ merchantId, runId, kind, reason: problem }, "a provider's API does not answer");
  if (kind === 'unauthorized' || kind === 'refused') return fail(services, held, problem);
  await noteProblem(autocommit(pool), held, { problem, now: clock.now() });
}

async function fail({ pool, clock }: ReconcileServices, held: RunLease, problem: string): Promise<void> {
  await endRun(autocommit(pool), held, { state: 'failed', problem, now: clock.now() });
}

interface Leased {
  readonly api: ProviderApi;
  readonly source: Source;
  readonly held: RunLease;
}

async function walk(
  services: ReconcileServices,
  { api, source, held }: Leased,
  options: ReconcileOptions,
): Promise<void> {
  while (!options.signal.aborted) {
    const run = await current(services, held);
    options.onProgress?.({ run, waiting: null });
    if (run.state !== 'running') return;
    const work = { run, source, api, leasedBy: held.leasedBy };
    if (run.phase === 'settling') {
      await settle(services, work, options);
      return;
    }
    const page = await patiently(run, options, () => nextPage(services, work));
    if (page === null) return;
    const { notice } = page;
    if (notice !== undefined) {
      const { merchantId, runId, sourceId } = run;
      services.logger.warn({ merchantId, runId, sourceId, reason: notice }, 'a comparison may miss payments');
    }
    await takePage(services, work, page);
  }
}

async function listPage({ api, run }: LeasedRun): Promise<PageToTake> {
  const kind = api.kinds.find((one) => one === run.phase);
  invariant(kind !== undefined, `a run lists what its provider does not: ${run.phase}`);
  const { listed, next, notice } = await api.list(kind, run, run.cursor);
  const following = api.kinds[api.kinds.indexOf(kind) + 1] ?? 'open';
  const phase = next === null ? following : kind;
  return { listed, unknown: [], phase, cursor: next, ...(notice === undefined ? {} : { notice }) };
}

/** Asks the provider for objects by their ids, because no list of the run's window shows them. */
async function retrievePage(
  { api, run }: LeasedRun,
  objects: readonly KnownObject[],
  next: Phase,
): Promise<PageToTake> {
  const listed: Listed[] = [];
  const unknown: string[] = [];
  for (const { kind, objectId } of objects) {
    if (!api.kinds.includes(kind)) continue;
    const found = await api.retrieve(kind, objectId);
    if (found !== null) listed.push(found);
    // Null is normal for an unfinished payment, which was perhaps never paid. The provider must know a paid one.
    else if (run.phase === 'unlisted') unknown.push(objectId);
  }
  const cursor = objects.length < RETRIEVED_PAGE ? null : (objects.at(-1)?.cursor ?? null);
  return { listed, unknown, phase: cursor === null ? next : run.phase, cursor };
}

async function nextPage({ pool }: ReconcileServices, work: LeasedRun): Promise<PageToTake> {
  const db = autocommit(pool);
  const { run } = work;
  if (run.phase === 'open') return retrievePage(work, await unfinished(db, run, RETRIEVED_PAGE), 'unlisted');
  if (run.phase === 'unlisted') return retrievePage(work, await unconfirmed(db, run, RETRIEVED_PAGE), 'settling');
  return listPage(work);
}

/**
 * Calls `ask`, and repeats it while the provider is busy: after the time that the provider names, or after waits that
 * double.
 * @returns null if the signal aborted
 * @throws {ProviderApiError} if repeating cannot help, or did not help in {@link MAX_TRIES} tries
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

/** Waits until what was missing is applied, then ends the run. If that takes too long, a later call goes on waiting. */
async function settle(services: ReconcileServices, work: LeasedRun, options: ReconcileOptions): Promise<void> {
  const { run } = work;
  const { signal, onProgress, settleSeconds = SETTLE_SECONDS } = options;
  let deadlineMs = performance.now() + settleSeconds * 1000;
  while (!signal.aborted) {
    const settled = await settleRun(services, run);
    const now = await current(services, run);
    onProgress?.({ run: now, waiting: null });
    if (run.isDryRun || now.outcomes.missing === 0) {
      const end = { state: 'finished', problem: null, now: services.clock.now() } as const;
      await endRun(autocommit(services.pool), leaseOf(work), end);
      return;
    }
    if (settled > 0) deadlineMs = performance.now() + settleSeconds * 1000;
    if (settled === SETTLED_AT_ONCE) continue;
    if (performance.now() > deadlineMs) {
      const problem = 'what was missing is taken in, but not applied yet';
      await noteProblem(autocommit(services.pool), leaseOf(work), { problem, now: services.clock.now() });
      return;
    }
    await pause(SETTLE_POLL_MS, signal);
  }
}

/** Null as soon as the signal aborts, so that a process can end while a provider hangs. */
async function unlessAborted<T>(asked: Promise<T>, signal: AbortSignal): Promise<T | null> {
  // After an abort nobody awaits the answer; without this its failure would be an unhandled rejection.
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
