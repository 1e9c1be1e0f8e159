import type { Config } from '../config.ts';
import type { ProviderName } from '../providers/names.ts';
import type { Secret } from '../secret.ts';

/** One provider account of one merchant: what its events are verified with and what they mean. */
export interface Source {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly provider: ProviderName;
  readonly mode: 'test' | 'live';
  /** Newest first; several while a rotation is under way. */
  readonly secrets: readonly Secret[];
  /** What a payment is for whose metadata has no `wallet_purpose`. */
  readonly defaultPurpose: 'topup' | 'order' | 'none';
  /**
   * Which `wallet_…` metadata of a payment is obeyed: `all` of it, or `customer` alone where payers can write metadata
   * themselves (Razorpay Checkout's notes, links that take metadata from their URL) and could so grant themselves credit.
   */
  readonly metadata: 'all' | 'customer';
  /** What a refund does; `auto` follows the payment's purpose. */
  readonly refunds: 'auto' | 'credit' | 'reverse' | 'ignore';
}

/** Finds the source that an event came in by. */
export interface Sources {
  /** The default merchant's source of a provider, or null if none is configured. */
  byProvider(provider: ProviderName): Source | null;
  byId(provider: ProviderName, sourceId: string): Source | null;
  /** Any source by its id, whatever its provider. */
  find(merchantId: string, sourceId: string): Source | null;
}

/** The sources that the environment configures for the default merchant, as `src_<provider>`. */
export function sourcesFromConfig(config: Config): Sources {
  const all = config.sources.map(
    (settings): Source => ({
      ...settings,
      merchantId: config.MERCHANT_ID,
      sourceId: `src_${settings.provider}`,
      mode: config.MODE,
    }),
  );
  return {
    byProvider: (provider) => all.find((source) => source.provider === provider) ?? null,
    byId: (provider, sourceId) =>
      all.find((source) => source.provider === provider && source.sourceId === sourceId) ?? null,
    find: (merchantId, sourceId) =>
      all.find((source) => source.merchantId === merchantId && source.sourceId === sourceId) ?? null,
  };
}
