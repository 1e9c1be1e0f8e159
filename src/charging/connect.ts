import type { Config } from '../config/env.ts';
import type { Source } from '../merchants/source.ts';
import type { Charger } from './charger.ts';
import { type KeyAccountServices, KeyAccounts } from './key-account.ts';

export interface OpenCharger extends Charger {
  /** Whether it is known that the source hears of what is charged here. What nobody hears of is never credited. */
  readonly isProven: boolean;
}

/**
 * Opens what a source may charge by; null if it may not charge, as where its key opens another account than its events come from. Rejects
 * with a ProviderApiError for a key of the wrong form, and where whose account it opens cannot be asked now.
 */
export type ConnectCharger = (source: Source) => Promise<OpenCharger | null>;

export interface ChargerServices extends KeyAccountServices {
  readonly config: Pick<Config, 'apiUrls'>;
}

export function connectChargers({ config: { apiUrls }, ...services }: ChargerServices): ConnectCharger {
  const accounts = new KeyAccounts(services);
  return async (source) => {
    const { provider, mode, chargeKey: apiKey } = source;
    if (provider !== 'stripe' || apiKey === null) return null;
    // Loaded only now, since it brings the provider's package.
    const { stripeCharger } = await import('./stripe.ts');
    const baseUrl = apiUrls.get(provider);
    const charger = stripeCharger({ apiKey, mode, ...(baseUrl === undefined ? {} : { baseUrl }) });
    const verdict = await accounts.judge(source, apiKey);
    return verdict === 'other' ? null : { ...charger, isProven: verdict === 'same' };
  };
}

/**
 * Whether a payment that names a top-up by its id is credited there: a source that sells orders obeys its customers' own metadata
 * in nothing but their names.
 */
function obeysTopUps({ metadata, defaultPurpose }: Pick<Source, 'metadata' | 'defaultPurpose'>): boolean {
  return metadata === 'all' || defaultPurpose === 'topup';
}

/** Whether the source may make pages on which somebody pays. Its payments name a checkout, which every source obeys. */
export function mayOpenSessions({ enabled, provider, chargeKey }: Source): boolean {
  return enabled && provider === 'stripe' && chargeKey !== null;
}

/** Whether wallets may be filled up by charging at this source. */
export function mayCharge(source: Source): boolean {
  return source.enabled && source.provider === 'stripe' && source.chargeKey !== null && obeysTopUps(source);
}
