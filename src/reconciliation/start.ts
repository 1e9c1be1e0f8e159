import { autocommit } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import { adoptionsOf } from '../merchants/adoption-store.ts';
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

/** Two years: further back is compared by another run. */
const MAX_WINDOW_MS = 2 * 366 * 86_400_000;
/** What was paid in the last five minutes is not compared: its webhooks may still be on their way. */
const SETTLING_MS = 5 * 60_000;

/** The latest end of a window, five minutes before now. */
export function latestUntil(now: Date): Date {
  return new Date(now.getTime() - SETTLING_MS);
}

/**
 * Stores a run that compares a source with its provider; `reconcile` works on it. A source has one run at a time: if one
 * is under way, that one is returned.
 * @throws {RefusalError} NO_SUCH_SOURCE, SOURCE_DISABLED, SOURCE_ADOPTED, PROVIDER_NOT_LISTABLE, PROVIDER_KEY_MISSING or PROVIDER_KEY_UNUSABLE; INVALID_FIELD for the window
 */
export async function startRun(services: StartServices, request: RunRequest): Promise<Run> {
  const { merchantId, sourceId, since, until } = request;
  const db = autocommit(services.pool);
  const source = (await services.sources.find(db, merchantId, sourceId)) ?? refuse({ code: 'NO_SUCH_SOURCE' });
  if (!source.enabled) refuse({ code: 'SOURCE_DISABLED' });
  const [adopted] = await adoptionsOf(db, [source]);
  if (adopted !== undefined) refuse({ code: 'SOURCE_ADOPTED', into: adopted.intoSourceId });
  const kinds = requireApi(services, source);
  if (since >= until)
    refuse({
      code: 'INVALID_FIELD',
      field: 'since',
      wants: 'wants a time before until, and until lies at least five minutes back',
    });
  if (until.getTime() - since.getTime() > MAX_WINDOW_MS)
    refuse({ code: 'INVALID_FIELD', field: 'since', wants: 'wants a time within two years of until' });
  const runId = newId('reconciliation');
  const [first] = kinds;
  invariant(first !== undefined, 'a provider that lists nothing');
  const run = { ...request, runId, provider: source.provider, phase: first };
  const isNew = await insertRun(db, run, services.clock.now());
  const started = isNew ? await getRun(db, { merchantId, runId }) : await runningRun(db, merchantId, sourceId);
  // Null: the run that was under way has ended since, so the new one can begin now.
  return started ?? startRun(services, request);
}

function requireApi({ connect }: StartServices, source: Source): readonly ListedKind[] {
  if (source.apiKey === null) {
    refuse({ code: 'PROVIDER_KEY_MISSING' });
  }
  try {
    const api = connect(source);
    return api?.kinds ?? refuse({ code: 'PROVIDER_NOT_LISTABLE', provider: source.provider });
  } catch (error) {
    if (!(error instanceof ProviderApiError)) throw error;
    return refuse({ code: 'PROVIDER_KEY_UNUSABLE', problem: error.message });
  }
}
