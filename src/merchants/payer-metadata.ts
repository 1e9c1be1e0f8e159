import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { defaultMetadataRule, obeysPayers } from '../providers/shared/metadata-rule.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import type { Logger } from '../telemetry/log.ts';
import { selectSourcesObeyingAll } from './source-store.ts';
import type { SourceDirectory } from './sources.ts';

/** The most sources that one warning names. Once these are corrected, the next start names the next ones. */
const MOST_NAMED = 20;

/**
 * Warns, in one line of the log, of sources that obey amounts and purposes which payers may have written. They were stored
 * before the safe setting was the default, or were set so on purpose, and keep their setting: a start changes nothing.
 */
export async function warnOfPayerMetadata(
  pool: Pool,
  { sources, merchantId, logger }: { sources: SourceDirectory; merchantId: string; logger: Logger },
): Promise<void> {
  const configured = sources.configured(merchantId).filter(obeysPayers);
  const risky = PROVIDER_NAMES.filter((provider) => defaultMetadataRule(provider) !== 'all');
  const stored = await selectSourcesObeyingAll(autocommit(pool), risky, MOST_NAMED);
  const total = configured.length + stored.total;
  if (total === 0) return;
  const named = [
    ...configured.map(({ sourceId, provider }) => ({
      sourceId,
      mend: `${provider.toUpperCase()}_METADATA=customer`,
    })),
    ...stored.keys.map(({ merchantId: owner, sourceId }) => ({
      sourceId,
      mend: `npx chokin sources set ${sourceId} --merchant ${owner} --metadata customer`,
    })),
  ];
  logger.warn(
    { total, sources: named.slice(0, MOST_NAMED) },
    'sources obey wallet_ metadata that payers can write, so a payer could grant himself credit: unless your server alone writes it, mend them',
  );
}
