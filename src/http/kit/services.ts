import type { PgBoss } from 'pg-boss';
import type { ConnectCharger } from '../../charging/connect.ts';
import type { Purchases } from '../../checkouts/checkouts.ts';
import type { Clock } from '../../clock.ts';
import type { Config } from '../../config/env.ts';
import type { SecretBox } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import type { Readers } from '../../db/readers.ts';
import type { Readiness } from '../../db/readiness.ts';
import type { Turns } from '../../db/turns.ts';
import type { Receiver } from '../../inbox/receive.ts';
import type { LedgerBatches } from '../../ledger/batches.ts';
import type { LedgerSettings } from '../../ledger/store.ts';
import type { KeyGuard } from '../../merchants/key-guard/key-guard.ts';
import type { Source } from '../../merchants/source.ts';
import type { SourceDirectory } from '../../merchants/sources.ts';
import type { OutgoingWebhooks } from '../../outgoing/outgoing.ts';
import type { SenderStatus } from '../../outgoing/sender-status.ts';
import type { ProviderApi } from '../../providers/shared/api.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { NoteLimited } from './limited.ts';

/** Everything the HTTP side works with; `web.ts` builds it. */
export interface Services {
  readonly config: Config;
  readonly pool: Pool;
  /** In which merchants use the pool, but for what is done in batches or by `readers`. */
  readonly turns: Turns;
  /** Where searches and lists are read, each in its owner's turn. */
  readonly readers: Readers;
  /** The same for what the operator lists, and what is read across merchants. */
  readonly operatorReaders: Readers;
  /** Whether this process could post now. */
  readonly readiness: Readiness;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ledger: LedgerBatches;
  readonly settings: LedgerSettings;
  /** Watches idempotency keys. */
  readonly keyGuard: KeyGuard;
  readonly sources: SourceDirectory;
  readonly purchases: Purchases;
  readonly receiver: Receiver;
  readonly webhooks: OutgoingWebhooks;
  /** What is known of the sender of outgoing webhooks. */
  readonly senderStatus: () => SenderStatus;
  /** Started; the HTTP side makes jobs and works on none. */
  readonly boss: PgBoss;
  readonly metrics: Metrics;
  /** To be told of everybody whom a limit met. */
  readonly noteLimited: NoteLimited;
  readonly box: SecretBox;
  /** Makes a client of a source's provider; null if the provider's payments cannot be listed. */
  readonly connect: (access: Pick<Source, 'provider' | 'mode' | 'apiKey'>) => ProviderApi | null;
  /** Opens what makes pages to pay at, and charges; null where a source may not. */
  readonly connectCharger: ConnectCharger;
  /** To be called after a commit that put something into the outbox. */
  readonly onPosted: () => void;
}
