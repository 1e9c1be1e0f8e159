import type { Config } from '../config/env.ts';
import type { Source } from '../merchants/source.ts';
import { PROVIDER_APIS } from '../providers/apis.ts';
import type { ProviderApi } from '../providers/shared/api.ts';

/** Connects to the provider's API of a source; null where the source has no API key or Chokin cannot list its provider's payments. */
export function connectWith({ apiUrls }: Pick<Config, 'apiUrls'>): (source: Source) => ProviderApi | null {
  return ({ provider, apiKey, mode }) => {
    const connect = PROVIDER_APIS[provider];
    if (connect === undefined || apiKey === null) return null;
    const baseUrl = apiUrls.get(provider);
    return connect({ apiKey, mode, ...(baseUrl === undefined ? {} : { baseUrl }) });
  };
}
