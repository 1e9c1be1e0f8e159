import type { SourceSettings } from '../config/provider-env.ts';
import type { ProviderName } from '../providers/shared/names.ts';

export interface SourceKey {
  readonly merchantId: string;
  readonly sourceId: string;
}

/** A source and what kind of account it is of. */
export interface SourceAccountKind extends SourceKey {
  readonly provider: ProviderName;
  readonly mode: 'test' | 'live';
}

/**
 * One provider account of one merchant: what its events are verified with and what they mean. To read `apiKey` throws an
 * UnreadableSecretError where the database's cannot be opened; to read `secrets` only where none of them can.
 */
export interface Source extends SourceSettings {
  /** How many webhook secrets cannot be opened. What none of the others signed may have been signed with one of these. */
  readonly unreadableSecrets: number;
  readonly merchantId: string;
  readonly sourceId: string;
  readonly provider: ProviderName;
  readonly mode: 'test' | 'live';
  /** False: its deliveries are turned away. What was received before is applied all the same. */
  readonly enabled: boolean;
}
