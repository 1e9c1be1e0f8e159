import type { Queryable, Tx } from '../../db/transaction.ts';
import type { Recovery } from '../outgoing.ts';

/** Recoveries: sending again what an endpoint missed. The rows are the truth, the job only works on them. */

/** How long a worker has for a page before another takes it for dead. */
const LEASE_SECONDS = 120;

/** A recovery that a worker has claimed. */
export interface ClaimedRecovery extends Recovery {
  readonly merchantId: string;
  readonly phase: 'kept' | 'missing';
  /** Where the phase goes on; null at its start. */
  readonly place: string | null;
}

/** @returns null if one is under way for this endpoint */
export async function insertRecovery(
  db: Queryable,
  recovery: Pick<Recovery, 'recoveryId' | 'endpointId' | 'since' | 'until'> & { readonly merchantId: string },
  now: Date,
  waitSeconds: number,
): Promise<Recovery | null> {
  const { rows } = await db.query<RecoveryRow>(
    `insert into webhook_recovery (merchant_id, recovery_id, endpoint_id, since, until, state, phase, created_at, not_before)
     values ($1, $2, $3, $4, $5, 'running', 'kept', $6, now() + make_interval(secs => $7))
     on conflict do nothing returning *`,
    [
      recovery.merchantId,
      recovery.recoveryId,
      recovery.endpointId,
      recovery.since.toISOString(),
      recovery.until.toISOString(),
      now.toISOString(),
      waitSeconds,
    ],
  );
  return rows[0] === undefined ? null : toRecovery(rows[0]);
}

export async function selectRecovery(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  recoveryId: string,
): Promise<Recovery | null> {
  const { rows } = await db.query<RecoveryRow>(
    'select * from webhook_recovery where merchant_id = $1 and endpoint_id = $2 and recovery_id = $3',
    [merchantId, endpointId, recoveryId],
  );
  return rows[0] === undefined ? null : toRecovery(rows[0]);
}

/** Claims the one that has waited longest, so that a long one does not hold up the others. */
export async function claimRecovery(db: Queryable): Promise<ClaimedRecovery | null> {
  const { rows } = await db.query<RecoveryRow>(
    `with due as (
       select merchant_id, recovery_id from webhook_recovery
       where state = 'running' and not_before <= now()
       order by not_before limit 1 for update skip locked)
     update webhook_recovery r set not_before = now() + make_interval(secs => $1)
     from due where r.merchant_id = due.merchant_id and r.recovery_id = due.recovery_id
     returning r.*`,
    [LEASE_SECONDS],
  );
  const [row] = rows;
  if (row === undefined) return null;
  return { ...toRecovery(row), merchantId: row.merchant_id, phase: row.phase, place: row.place };
}

/** Until the next one is due; null if none is under way. */
export async function nextRecoverySeconds(db: Queryable): Promise<number | null> {
  const { rows } = await db.query<{ seconds: number | null }>(
    `select extract(epoch from min(not_before) - now())::float8 as seconds from webhook_recovery where state = 'running'`,
  );
  const seconds = rows[0]?.seconds ?? null;
  return seconds === null ? null : Math.max(0, Math.ceil(seconds));
}

export interface RecoveryPage {
  readonly phase: ClaimedRecovery['phase'];
  readonly place: string | null;
  readonly resent: number;
  readonly rebuilt: number;
}

/** Notes a page that was done, and gives the claim back. One that was claimed by another meanwhile counts all the same. */
export async function savePage(tx: Tx, recovery: ClaimedRecovery, page: RecoveryPage): Promise<void> {
  await tx.query(
    `update webhook_recovery
     set phase = $3, place = $4, resent = resent + $5, rebuilt = rebuilt + $6, not_before = now()
     where merchant_id = $1 and recovery_id = $2 and state = 'running'`,
    [recovery.merchantId, recovery.recoveryId, page.phase, page.place, page.resent, page.rebuilt],
  );
}

export async function postponeRecovery(db: Queryable, recovery: ClaimedRecovery, seconds: number): Promise<void> {
  await db.query(
    `update webhook_recovery set not_before = now() + make_interval(secs => $3)
     where merchant_id = $1 and recovery_id = $2 and state = 'running'`,
    [recovery.merchantId, recovery.recoveryId, seconds],
  );
}

/** @param reason why it cannot go on; null if it is done */
export async function endRecovery(
  db: Queryable,
  { merchantId, recoveryId }: ClaimedRecovery,
  reason: string | null,
  now: Date,
): Promise<void> {
  await db.query(
    `update webhook_recovery set state = $3, reason = $4, finished_at = $5
     where merchant_id = $1 and recovery_id = $2 and state = 'running'`,
    [merchantId, recoveryId, reason === null ? 'finished' : 'stopped', reason, now.toISOString()],
  );
}

interface RecoveryRow {
  merchant_id: string;
  recovery_id: string;
  endpoint_id: string;
  since: Date;
  until: Date;
  state: Recovery['state'];
  phase: ClaimedRecovery['phase'];
  place: string | null;
  resent: number;
  rebuilt: number;
  reason: string | null;
  created_at: Date;
  finished_at: Date | null;
}

function toRecovery(row: RecoveryRow): Recovery {
  return {
    recoveryId: row.recovery_id,
    endpointId: row.endpoint_id,
    since: row.since,
    until: row.until,
    state: row.state,
    reason: row.reason,
    resent: row.resent,
    rebuilt: row.rebuilt,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
  };
}
