import { autocommit } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Source } from '../merchants/source.ts';
import { type ListedKind, ProviderApiError } from '../providers/shared/api.ts';
import type { RequestedBy, Run } from './run.ts';
import type { ReconcileServices } from './services.ts';
import { getRun, insertRun, runningRun } from './store.ts';

export type StartServices = Pick<ReconcileServices, 'pool' | 'clock' | 'sources' | 'connect'>;

export interface RunRequest {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly since: Date;
  readonly until: Date;
  readonly requestedBy: RequestedBy;
  readonly isDryRun: boolean;
}

/** Providers keep payments for years; nobody needs to go back further in one run. */
const MAX_WINDOW_MS = 2 * 366 * 86_400_000;
/** Webhooks of what was paid a moment ago are on their way. */
const SETTLING_MS = 5 * 60_000;

/** The latest time up to which comparing makes sense. */
export function latestUntil(now: Date): Date {
  return new Date(now.getTime() - SETTLING_MS);
}

/**
 * Begins to compare a source with its provider; to be worked on by `reconcile`. A source has one run at a time: where
 * one is under way, that one is returned.
 * @throws {RefusalError} NOT_FOUND, NOT_IMPLEMENTED, CONFLICT (disabled, no API key or one of the wrong form) or INVALID_REQUEST_BODY (the window)
 */
export async function startRun(services: StartServices, request: RunRequest): Promise<Run> {
  const { merchantId, sourceId, since, until } = request;
  const db = autocommit(services.pool);
  const source =
    (await services.sources.find(db, merchantId, sourceId)) ?? refuse('NOT_FOUND', 'There is no such source.');
  if (!source.enabled) refuse('CONFLICT', 'The source is disabled.');
  const kinds = requireApi(services, source);
  if (since >= until)
    refuse('INVALID_REQUEST_BODY', 'since: wants a time before until, and until lies at least five minutes back');
  if (until.getTime() - since.getTime() > MAX_WINDOW_MS)
    refuse('INVALID_REQUEST_BODY', 'since: wants a time within two years of until');
  const runId = newId('reconciliation');
  const run = { ...request, runId, provider: source.provider };
  const [first] = kinds;
  invariant(first !== undefined, 'a provider that lists nothing');
  const isNew = await insertRun(db, run, first, services.clock.now());
  const started = isNew ? await getRun(db, { merchantId, runId }) : await runningRun(db, merchantId, sourceId);
  // The run that stood in the way has ended meanwhile: then ours can begin.
  return started ?? startRun(services, request);
}

function requireApi({ connect }: StartServices, source: Source): readonly ListedKind[] {
  if (source.apiKey === null) {
    refuse('CONFLICT', 'The source has no API key of the provider. Set one; with it, payments can be listed.');
  }
  try {
    const api = connect(source);
    return api?.kinds ?? refuse('NOT_IMPLEMENTED', `The payments of ${source.provider} cannot be listed by its API.`);
  } catch (error) {
    if (!(error instanceof ProviderApiError)) throw error;
    return refuse('CONFLICT', `The source's API key is not usable: ${error.message}.`);
  }
}
