import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import type { Source } from '../merchants/source.ts';
import type { SourceDirectory } from '../merchants/sources.ts';
import type { ProviderApi } from '../providers/shared/api.ts';
import type { Logger } from '../telemetry/log.ts';

/** What comparing with a provider works with. */
export interface ReconcileServices {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sources: SourceDirectory;
  /** Opens the API of a source's provider; null if its payments cannot be listed, or the source has no API key. */
  readonly connect: (source: Source) => ProviderApi | null;
  /** Called after a commit that left something to announce. */
  readonly onPosted: () => void;
}
