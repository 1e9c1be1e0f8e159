import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { RefusalError } from '../errors.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import { connectWith } from '../reconciliation/connect.ts';
import { listItems } from '../reconciliation/item-store.ts';
import { type Progress, type ReconcileOptions, reconcile, settleSecondsFor } from '../reconciliation/reconcile.ts';
import type { Run } from '../reconciliation/run.ts';
import type { ReconcileServices } from '../reconciliation/services.ts';
import { latestUntil, type RunRequest, startRun } from '../reconciliation/start.ts';
import { listRuns } from '../reconciliation/store.ts';
import { itemResponse, runResponse } from '../views/reconciliation.ts';
import { addMerchantCommand, flag, type Result, takes } from './command.ts';
import type { CliContext } from './context.ts';
import { note, progressLine, properties, table, time } from './output.ts';
import { count, id, past } from './values.ts';

const BUSY_MS = 1_000;
const RESUMED_MS = 3_600_000;
const MAX_SHOWN = 50;
const MAX_LISTED = 1_000;

/** Compares with the providers, and shows what came of it. */
export function addReconcileCommand(program: Command): void {
  addMerchantCommand(program, {
    name: 'reconcile',
    summary: 'Compare a source with its provider, and take in what no webhook told of',
    details:
      'Shows how far it is, remembers its place after every page, and goes on there when it is run again. What was missing is applied by the worker, which has to run. Exits with 1 if something wants a person. Try --dry-run first where the account was in use before Chokin: what was paid then would be credited too.',
    takes: {
      source: takes('--source <id>', 'src_…, as "npx chokin sources list" shows it', id),
      since: takes('--since <time>', 'payments, refunds and disputes made from here on: 2026-11-01, or 3d', past),
      until: takes('--until <time>', 'and before this (default: five minutes ago)', past.optional()),
      isDryRun: flag('--dry-run', 'compare only, and take nothing in'),
    },
    async run({ source, since, until, isDryRun }, context, { merchantId }) {
      const now = context.clock.now();
      const latest = latestUntil(now);
      const wanted = until?.(now) ?? latest;
      const request: RunRequest = {
        merchantId,
        sourceId: source,
        since: since(now),
        until: wanted > latest ? latest : wanted,
        requestedBy: 'cli',
        isDryRun,
      };
      return result(
        context,
        await workThrough(await openServices(context), request, settleSecondsFor(context.config.NAMING_WAIT_SECONDS)),
      );
    },
  });
}

/** What was compared before. */
export function addReconciliationCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: 'List comparisons, newest first',
    takes: { limit: takes('--limit <count>', 'how many at most (default: 20)', count(1, 1000).default(20)) },
    async run({ limit }, { db }, { merchantId }) {
      const items = (await listRuns(db, merchantId, { pageSize: limit, pageNumber: 0 })).map(runResponse);
      const rows = items.map((run) => [
        run.run_id,
        run.source_id,
        time(run.since),
        time(run.until),
        run.status,
        run.matched,
        run.healed,
        run.differing,
        run.unknown,
      ]);
      const header = ['run', 'source', 'since', 'until', 'status', 'matched', 'healed', 'differing', 'unknown'];
      return { json: { items }, text: table(header, rows, 'No comparisons yet.') };
    },
  });
}

/** Works until the window asked for is compared, first on what an earlier call left unfinished. */
async function workThrough(services: ReconcileServices, request: RunRequest, settleSeconds: number): Promise<Run> {
  const options = { signal: stopOnSignals(), settleSeconds, onProgress: showProgress };
  for (;;) {
    const started = await startRun(services, request).catch((error: unknown) => {
      adviseOnSource(error, request.sourceId);
      throw error;
    });
    const isWanted =
      started.since <= request.since && covers(started.until, request.until) && started.isDryRun === request.isDryRun;
    if (!isWanted) {
      note(`Going on with ${started.runId} first, which is under way (since ${started.since.toISOString()}).`);
    }
    const run = await workOn(services, started, options);
    if (isWanted || run.state !== 'finished') return run;
  }
}

/** Whether an interrupted run covers what is wanted: it may end some minutes earlier, so that it is continued and not begun again. */
function covers(until: Date, wanted: Date): boolean {
  return until.getTime() >= wanted.getTime() - RESUMED_MS;
}

/** Only a process that has a source's variables in its environment knows that source. */
function adviseOnSource(error: unknown, sourceId: string): void {
  const provider = PROVIDER_NAMES.find((name) => sourceId === `src_${name}`);
  const isMissing = error instanceof RefusalError && error.refusal.code === 'NO_SUCH_SOURCE';
  if (provider === undefined || !isMissing) return;
  const variable = provider.toUpperCase();
  note(
    `${sourceId} is a source of the environment: run this with ${variable}_WEBHOOK_SECRET and ${variable}_API_KEY set.`,
  );
}

/** Until it has ended, does not get on, or the user stops it. While another process has it, waits for that one. */
async function workOn(
  services: ReconcileServices,
  { merchantId, runId }: Run,
  options: ReconcileOptions,
): Promise<Run> {
  const { signal } = options;
  for (;;) {
    const run = await reconcile(services, { merchantId, runId }, options);
    const isBusy = run.state === 'running' && run.problem === null && !signal.aborted;
    if (!isBusy) {
      progressLine(null);
      if (signal.aborted) note('Stopped. Run the same command again to go on from here.');
      return run;
    }
    progressLine('Another process works on it; waiting …');
    await delay(BUSY_MS, null, { signal }).catch(() => {});
  }
}

/** Nothing is applied here: what an event means is decided by the settings of the service, not by those of this shell. */
async function openServices(context: CliContext): Promise<ReconcileServices> {
  const { config, pool, clock, logger, admin } = context;
  const boss = await context.boss();
  const waker = await context.waker();
  const onPosted = () => waker.wake();
  return { pool, boss, clock, logger, sources: admin.sources, connect: connectWith(config), onPosted };
}

function stopOnSignals(): AbortSignal {
  const stopping = new AbortController();
  // The page at hand is finished; who asks twice does not want to wait for it.
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => {
      progressLine('Stopping after the page at hand …');
      stopping.abort();
    });
  }
  return stopping.signal;
}

const PHASES: Readonly<Record<Run['phase'], string>> = {
  payment: 'payments',
  refund: 'refunds',
  dispute: 'disputes',
  open: 'what is unfinished here',
  unlisted: 'ours that were not listed',
  settling: 'waiting until what was missing is applied',
};

function showProgress({ run, waiting }: Progress): void {
  const { healed, missing, differing, unknown } = run.outcomes;
  const counts = `${run.matched} matched, ${missing + healed} missing, ${differing + unknown} to look at`;
  const wait = waiting === null ? '' : `; ${waiting.reason}, waiting ${waiting.seconds} s`;
  progressLine(`${PHASES[run.phase]}: ${run.listed} compared, ${counts}${wait}`);
}

async function result(context: CliContext, run: Run): Promise<Result> {
  const outcomes = ['differing', 'unknown', 'missing'] as const;
  const items = await listItems(context.db, run, { pageSize: MAX_LISTED, pageNumber: 0, outcomes });
  const { healed, missing, differing, unknown } = run.outcomes;
  const counts = table(
    ['outcome', 'count', 'what it means'],
    [
      ['matched', run.matched, 'the provider says what we say'],
      ['healed', healed, 'no webhook had told of it; it is applied now'],
      ['differing', differing, 'somebody has to look; the reason says why'],
      ['unknown', unknown, 'a payment of ours that the provider does not have'],
      ...(missing === 0
        ? []
        : [['missing', missing, run.isDryRun ? 'would be taken in' : 'taken in, and not applied yet']]),
    ],
    '',
  );
  const found = table(
    ['kind', 'id', 'payment', 'outcome', 'event', 'reason'],
    items
      .slice(0, MAX_SHOWN)
      .map((item) => [item.kind, item.objectId, item.paymentId, item.outcome, item.eventId, item.reason]),
    '',
  );
  const summary = properties({
    run: run.runId,
    source: run.sourceId,
    since: time(run.since.toISOString()),
    until: time(run.until.toISOString()),
    status: run.state === 'running' ? 'not finished' : run.state,
    problem: run.problem,
  });
  return {
    json: { ...runResponse(run), items: items.map(itemResponse) },
    text: [summary, counts, found].filter((part) => part !== '').join('\n\n'),
    isFailure: run.state !== 'finished' || differing + unknown > 0,
  };
}
