import type { PgBoss } from 'pg-boss';
import type { OutgoingWebhooks } from '../announcements/outgoing.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Pool } from '../db/pool.ts';
import type { Receiver } from '../inbox/receive.ts';
import type { LedgerLanes } from '../ledger/lane.ts';
import type { LedgerSettings } from '../ledger/store.ts';
import type { Logger } from '../log.ts';
import type { Sources } from '../merchants/sources.ts';
import type { Metrics } from '../metrics.ts';

/** Everything the HTTP side works with; `web.ts` builds it. */
export interface Services {
  readonly config: Config;
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ledger: LedgerLanes;
  readonly settings: LedgerSettings;
  readonly sources: Sources;
  readonly receiver: Receiver;
  readonly webhooks: OutgoingWebhooks;
  /** Started, and only makes jobs. */
  readonly boss: PgBoss;
  readonly metrics: Metrics;
  /** To be called after a commit that left something to announce. */
  readonly onPosted: () => void;
}
