import { array, bigint, float, integer, nullable, oneOf, text, timestamptz } from '../../db/codec.ts';
import type { Failures } from '../../db/failures.ts';
import { statement } from '../../db/statement.ts';
import { columns, pick, table } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { EndpointKey, Recovery } from '../outgoing.ts';

/** Recoveries: sending again what an endpoint missed. The rows are the truth, the job only works on them. */

/** After this time another worker takes over a page, since the first one has probably died. */
const LEASE_SECONDS = 120;

/** A recovery that a worker has claimed. */
export interface ClaimedRecovery extends Recovery {
  readonly merchantId: string;
  readonly phase: 'kept' | 'missing';
  /** Where the phase continues; null at its start. */
  readonly place: string | null;
}

/**
 * Stores a recovery, on which work begins after `waitSeconds`.
 * @returns null if one is under way for this endpoint already
 */
export async function insertRecovery(
  db: Queryable,
  recovery: Pick<Recovery, 'recoveryId' | 'endpointId' | 'since' | 'until'> & { readonly merchantId: string },
  { now, waitSeconds }: { readonly now: Date; readonly waitSeconds: number },
): Promise<Recovery | null> {
  const { merchantId, recoveryId, endpointId, since, until } = recovery;
  return INSERT.first(db, { merchantId, recoveryId, endpointId, since, until, now, waitSeconds });
}

const RECOVERY = table('webhook_recovery', {
  recoveryId: text,
  endpointId: text,
  since: timestamptz,
  until: timestamptz,
  state: oneOf<Recovery['state']>(),
  reason: nullable(text),
  resent: integer,
  rebuilt: integer,
  createdAt: timestamptz,
  finishedAt: nullable(timestamptz),
});
const PROGRESS = { phase: oneOf<ClaimedRecovery['phase']>(), place: nullable(text) };

const INSERT = statement({
  params: {
    merchantId: text,
    ...pick(RECOVERY.shape, 'recoveryId', 'endpointId', 'since', 'until'),
    now: timestamptz,
    waitSeconds: float,
  },
  row: RECOVERY.shape,
  text: (p) => `
    insert into webhook_recovery (merchant_id, recovery_id, endpoint_id, since, until, state, phase, created_at, not_before)
    values (${p.merchantId}, ${p.recoveryId}, ${p.endpointId}, ${p.since}, ${p.until}, 'running', 'kept', ${p.now},
      now() + make_interval(secs => ${p.waitSeconds}))
    on conflict do nothing returning ${columns(RECOVERY.shape)}`,
});

/** @returns null if the endpoint has no such recovery */
export async function selectRecovery(
  db: Queryable,
  { merchantId, endpointId, recoveryId }: EndpointKey & { readonly recoveryId: string },
): Promise<Recovery | null> {
  return SELECT.first(db, { merchantId, endpointId, recoveryId });
}

const SELECT = statement({
  params: { merchantId: text, endpointId: text, recoveryId: text },
  row: RECOVERY.shape,
  text: ({ merchantId, endpointId, recoveryId }) => `
    select ${columns(RECOVERY.shape)} from webhook_recovery
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and recovery_id = ${recoveryId}`,
});

interface Claiming {
  readonly failures: Failures;
  /** Ids of those that could not be claimed: they are left alone for the rest of the run, in which they would cost as much before each page of the others. */
  readonly broken: Set<string>;
  readonly logger: Logger;
}

/**
 * Claims the one that has waited longest, so that a long one does not hold up the others. One that cannot be claimed holds up none either.
 * @returns null if none is left that can be claimed
 */
export async function claimRecovery(
  db: Queryable,
  { failures, broken, logger }: Claiming,
): Promise<ClaimedRecovery | null> {
  for (const { merchantId, recoveryId } of await DUE.all(db, { broken: [...broken], limit: MOST_TRIED })) {
    const tell = (err: unknown) => {
      broken.add(recoveryId);
      logger.warn({ err, merchantId, recoveryId }, 'a recovery could not be claimed');
    };
    const claim = () => CLAIM.first(db, { merchantId, recoveryId, leaseSeconds: LEASE_SECONDS });
    const claimed = await failures.outlive(claim, tell);
    if (claimed !== null) return claimed;
  }
  return null;
}

/** The first may be claimed by others between the look and the claim. */
const MOST_TRIED = 10;

const DUE = statement({
  acrossMerchants: 'the one that has waited longest is next',
  params: { broken: array(text), limit: bigint },
  row: { merchantId: text, recoveryId: text },
  text: ({ broken, limit }) => `
    select merchant_id, recovery_id from webhook_recovery
    where state = 'running' and not_before <= now() and recovery_id <> all (${broken})
    order by not_before limit ${limit}`,
});

const CLAIMED = { merchantId: text, ...RECOVERY.shape, ...PROGRESS };

const CLAIM = statement({
  params: { merchantId: text, recoveryId: text, leaseSeconds: float },
  row: CLAIMED,
  text: ({ merchantId, recoveryId, leaseSeconds }) => `
    update webhook_recovery set not_before = now() + make_interval(secs => ${leaseSeconds})
    where merchant_id = ${merchantId} and recovery_id = ${recoveryId} and state = 'running' and not_before <= now()
    returning ${columns(CLAIMED)}`,
});

/** Seconds until the next recovery is due; null if none is under way. */
export async function nextRecoverySeconds(db: Queryable): Promise<number | null> {
  const { seconds } = await NEXT.one(db);
  return seconds === null ? null : Math.max(0, Math.ceil(seconds));
}

const NEXT = statement({
  acrossMerchants: 'the worker sleeps until any is due',
  params: {},
  row: { seconds: nullable(float) },
  text: () =>
    `select extract(epoch from min(not_before) - now())::float8 as seconds from webhook_recovery where state = 'running'`,
});

export interface RecoveryPage {
  readonly phase: ClaimedRecovery['phase'];
  readonly place: string | null;
  readonly resent: number;
  readonly rebuilt: number;
}

/** Notes a finished page and gives the claim back. The page counts even if another worker has claimed the recovery meanwhile. */
export async function savePage(tx: Tx, recovery: ClaimedRecovery, page: RecoveryPage): Promise<void> {
  const { merchantId, recoveryId } = recovery;
  await SAVE_PAGE.run(tx, { merchantId, recoveryId, ...page });
}

const SAVE_PAGE = statement({
  params: { merchantId: text, recoveryId: text, ...PROGRESS, resent: integer, rebuilt: integer },
  text: ({ merchantId, recoveryId, phase, place, resent, rebuilt }) => `
    update webhook_recovery
    set phase = ${phase}, place = ${place}, resent = resent + ${resent}, rebuilt = rebuilt + ${rebuilt}, not_before = now()
    where merchant_id = ${merchantId} and recovery_id = ${recoveryId} and state = 'running'`,
});

/** Puts a claimed recovery off by this many seconds. */
export async function postponeRecovery(db: Queryable, recovery: ClaimedRecovery, seconds: number): Promise<void> {
  const { merchantId, recoveryId } = recovery;
  await POSTPONE.run(db, { merchantId, recoveryId, seconds });
}

const POSTPONE = statement({
  params: { merchantId: text, recoveryId: text, seconds: float },
  text: ({ merchantId, recoveryId, seconds }) => `
    update webhook_recovery set not_before = now() + make_interval(secs => ${seconds})
    where merchant_id = ${merchantId} and recovery_id = ${recoveryId} and state = 'running'`,
});

/** Ends a recovery: stopped for a reason, or finished if the reason is null. */
export async function endRecovery(
  db: Queryable,
  { merchantId, recoveryId }: ClaimedRecovery,
  { reason, now }: { readonly reason: string | null; readonly now: Date },
): Promise<void> {
  await END.run(db, { merchantId, recoveryId, state: reason === null ? 'finished' : 'stopped', reason, now });
}

const END = statement({
  params: { merchantId: text, recoveryId: text, state: text, reason: nullable(text), now: timestamptz },
  text: ({ merchantId, recoveryId, state, reason, now }) => `
    update webhook_recovery set state = ${state}, reason = ${reason}, finished_at = ${now}
    where merchant_id = ${merchantId} and recovery_id = ${recoveryId} and state = 'running'`,
});
