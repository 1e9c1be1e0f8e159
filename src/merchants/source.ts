import type { SourceSettings } from '../config/provider-env.ts';
import type { ProviderName } from '../providers/shared/names.ts';

/**
 * One provider account of one merchant: what its events are verified with and what they mean. To read `secrets` or `apiKey`
 * throws an UnreadableSecretError where the database's cannot be opened.
 */
export interface Source extends SourceSettings {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly provider: ProviderName;
  readonly mode: 'test' | 'live';
  /** False: its deliveries are turned away. What was received before is applied all the same. */
  readonly enabled: boolean;
}
