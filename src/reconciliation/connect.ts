import type { Config } from '../config/env.ts';
import type { Source } from '../merchants/source.ts';
import { PROVIDER_APIS } from '../providers/apis.ts';
import type { ProviderApi } from '../providers/shared/api.ts';

/**
 * Connects to the provider's API of a source; null where the source has no API key or Chokin cannot list its provider's payments.
 * The function throws a ProviderApiError for a key of the wrong form, and an UnreadableSecretError for one that cannot be opened.
 */
export function connectWith({
  apiUrls,
}: Pick<Config, 'apiUrls'>): (access: Pick<Source, 'provider' | 'mode' | 'apiKey'>) => ProviderApi | null {
  return ({ provider, apiKey, mode }) => {
    const connect = PROVIDER_APIS[provider];
    if (connect === undefined || apiKey === null) return null;
    const baseUrl = apiUrls.get(provider);
    return connect({ apiKey, mode, ...(baseUrl === undefined ? {} : { baseUrl }) });
  };
}
