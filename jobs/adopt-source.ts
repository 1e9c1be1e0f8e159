import type { PgBoss } from 'pg-boss';
import { QUEUES } from '../src/db/queues.ts';
import { RefusalError } from '../src/errors.ts';
import type { LedgerSettings } from '../src/ledger/store.ts';
import { type AdoptServices, adoptSource } from '../src/reconciliation/adopt.ts';
import type { Logger } from '../src/telemetry/log.ts';

interface AdoptJobServices extends AdoptServices {
  readonly logger: Logger;
  readonly settings: LedgerSettings;
}

/** Lets one source take over the payments of another. `pool` has no statement timeout, since there may be millions of them. */
export async function workAdoptSource(boss: PgBoss, services: AdoptJobServices): Promise<void> {
  const { payload } = QUEUES['adopt-source'];
  await boss.work('adopt-source', { batchSize: 1, pollingIntervalSeconds: 2 }, async ([job]) => {
    if (job === undefined) return;
    const pair = payload.parse(job.data);
    try {
      const adoption = await adoptSource({ ...services, boss }, pair);
      services.logger.info({ merchantId: pair.merchantId, ...adoption }, 'a source was adopted');
    } catch (error) {
      // The request was accepted, but something has changed since then so that it is refused now.
      if (!(error instanceof RefusalError)) throw error;
      services.logger.error({ ...pair, reason: error.message }, 'a source was not adopted');
    }
  });
}
