import type { Clock } from '../../clock.ts';
import { Failures } from '../../db/failures.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import { disabledMessage } from '../endpoint-disabled.ts';
import { leaveMessages } from '../unsent.ts';
import type { SvixAccount } from './account.ts';
import { listAtSvix } from './endpoints.ts';
import { deleteSentBefore, noteDisabled, noteEndpoint, selectEnabled, takeMerchantsToLookAt } from './store.ts';

/**
 * Finds endpoints that Svix gave up on, and tells their merchants. Svix reports them by an operational webhook, but this needs
 * a listener beside the open-source server and a subscription in the cloud. Asking Svix needs neither.
 */
export interface WatchServices {
  readonly pool: Pool;
  readonly account: SvixAccount;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The least time between two looks at one merchant. */
const LOOK_SECONDS = 240;
const MERCHANTS_AT_A_TIME = 8;
/** The most merchants in one run. The next run takes those that were looked at the longest ago. */
const MAX_MERCHANTS = 2000;

/** The job is given up after ten minutes. */
const MOST_LOST_MS = 5 * 60_000;

/**
 * @returns how many endpoints were found disabled
 * @throws {unknown} at the end, what failed first of a merchant's; at once if the database is away
 */
export async function lookForDisabled(services: WatchServices, signal: AbortSignal): Promise<number> {
  const { logger } = services;
  const failures = new Failures(MOST_LOST_MS);
  /** Null: something of the merchant's own failed, which says nothing of Svix. */
  const look = (merchantId: string) =>
    failures.outlive(
      () => lookAt(services, merchantId),
      (err) => logger.warn({ err, merchantId }, 'the endpoints of a merchant were not looked at'),
    );
  let found = 0;
  for (let looked = 0; looked < MAX_MERCHANTS && !signal.aborted; looked += MERCHANTS_AT_A_TIME) {
    const merchants = await takeMerchantsToLookAt(autocommit(services.pool), LOOK_SECONDS, MERCHANTS_AT_A_TIME);
    const counts = await Promise.all(merchants.map(look));
    for (const count of counts) if (typeof count === 'number') found += count;
    // Svix does not answer, and every further merchant would wait as long for it.
    if (counts.every((count) => count === 'unanswered')) break;
    if (merchants.length < MERCHANTS_AT_A_TIME) break;
  }
  failures.rethrow();
  return found;
}

async function lookAt(services: WatchServices, merchantId: string): Promise<number | 'unanswered'> {
  const { pool, account, logger } = services;
  const answer = await account.call(merchantId, listAtSvix);
  if (!answer.ok) {
    logger.warn({ merchantId, failure: answer.failure.kind }, "Svix's endpoints could not be looked at");
    return 'unanswered';
  }
  const enabledBefore = await selectEnabled(autocommit(pool), merchantId);
  let found = 0;
  for (const { id, description, disabled = false } of answer.value) {
    const isKnown = enabledBefore.has(id);
    if (!disabled) {
      if (!isKnown) await noteEndpoint(autocommit(pool), { merchantId, endpointId: id }, false);
    } else if (isKnown && (await giveUp(services, { merchantId, endpointId: id, description }))) found += 1;
  }
  return found;
}

/**
 * Notes that an endpoint is disabled, and tells its merchant if its last attempt failed. Without a failed attempt the merchant
 * has disabled it in Svix's portal and knows it already.
 */
async function giveUp(
  { pool, account, clock, logger }: WatchServices,
  endpoint: { readonly merchantId: string; readonly endpointId: string; readonly description: string },
): Promise<boolean> {
  const { merchantId, endpointId } = endpoint;
  const answer = await account.call(merchantId, (svix, application) =>
    svix.messageAttempt.listByEndpoint(application, endpointId, { limit: 1, withContent: false }),
  );
  if (!answer.ok) return false;
  const hasFailed = answer.value.data[0]?.statusText === 'fail';
  return transaction(pool, async (tx) => {
    const isNews = await noteDisabled(tx, merchantId, endpointId);
    if (!isNews || !hasFailed) return false;
    logger.warn({ merchantId, endpointId }, 'Svix disabled an endpoint that only failed');
    const now = clock.now();
    await leaveMessages(tx, [disabledMessage({ ...endpoint, failingSince: null }, now)], now);
    return true;
  });
}

const KEPT_MS = 30 * 86_400_000;
const PRUNED_AT_A_TIME = 5000;
const MAX_PRUNED = 200_000;

/** Forgets what was handed to Svix more than thirty days ago. */
export async function pruneSent(pool: Pool, now: Date, signal: AbortSignal): Promise<number> {
  const before = new Date(now.getTime() - KEPT_MS);
  let pruned = 0;
  while (pruned < MAX_PRUNED && !signal.aborted) {
    const some = await deleteSentBefore(autocommit(pool), before, PRUNED_AT_A_TIME);
    pruned += some;
    if (some < PRUNED_AT_A_TIME) break;
  }
  return pruned;
}
