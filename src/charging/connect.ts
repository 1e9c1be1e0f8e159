import type { Config } from '../config/env.ts';
import type { Source } from '../merchants/source.ts';
import type { Charger } from './charger.ts';

/** Opens what a source may charge by; null if it may not charge. Rejects with a ProviderApiError for a key of the wrong form. */
export type ConnectCharger = (source: Pick<Source, 'provider' | 'mode' | 'chargeKey'>) => Promise<Charger | null>;

export function connectChargers({ apiUrls }: Pick<Config, 'apiUrls'>): ConnectCharger {
  return async ({ provider, mode, chargeKey: apiKey }) => {
    if (provider !== 'stripe' || apiKey === null) return null;
    // Loaded only now, since it brings the provider's package.
    const { stripeCharger } = await import('./stripe.ts');
    const baseUrl = apiUrls.get(provider);
    return stripeCharger({ apiKey, mode, ...(baseUrl === undefined ? {} : { baseUrl }) });
  };
}

/**
 * Whether a payment that names a top-up by its id is credited there: a source that sells orders obeys its customers' own metadata
 * in nothing but their names.
 */
function obeysTopUps({ metadata, defaultPurpose }: Pick<Source, 'metadata' | 'defaultPurpose'>): boolean {
  return metadata === 'all' || defaultPurpose === 'topup';
}

/** Whether wallets may be filled up by charging at this source. */
export function mayCharge(source: Source): boolean {
  return source.enabled && source.provider === 'stripe' && source.chargeKey !== null && obeysTopUps(source);
}
