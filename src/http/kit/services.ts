import type { PgBoss } from 'pg-boss';
import type { Clock } from '../../clock.ts';
import type { Config } from '../../config/env.ts';
import type { SecretBox } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import type { Receiver } from '../../inbox/receive.ts';
import type { LedgerLanes } from '../../ledger/batches.ts';
import type { LedgerSettings } from '../../ledger/store.ts';
import type { Source } from '../../merchants/source.ts';
import type { SourceDirectory } from '../../merchants/sources.ts';
import type { OutgoingWebhooks } from '../../outgoing/outgoing.ts';
import type { SenderStatus } from '../../outgoing/sender-status.ts';
import type { ProviderApi } from '../../providers/shared/api.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

/** Everything the HTTP side works with; `web.ts` builds it. */
export interface Services {
  readonly config: Config;
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ledger: LedgerLanes;
  readonly settings: LedgerSettings;
  readonly sources: SourceDirectory;
  readonly receiver: Receiver;
  readonly webhooks: OutgoingWebhooks;
  /** What is known of whoever delivers them. */
  readonly senderStatus: () => SenderStatus;
  /** Started, and only makes jobs. */
  readonly boss: PgBoss;
  readonly metrics: Metrics;
  readonly box: SecretBox;
  /** A client of a source's provider; null where its payments cannot be listed. */
  readonly connect: (source: Source) => ProviderApi | null;
  /** To be called after a commit that left something to announce. */
  readonly onPosted: () => void;
}
