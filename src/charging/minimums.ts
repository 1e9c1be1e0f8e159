import type { ProviderName } from '../providers/shared/names.ts';

/** What each provider charges at least, in minor units of a currency, as the operator says it. */
export class GatewayMinimums {
  readonly #minimums: ReadonlyMap<string, number>;

  /** By `provider/CURRENCY`. */
  constructor(minimums: ReadonlyMap<string, number>) {
    this.#minimums = minimums;
  }

  /** 0 where nobody knows it. */
  of(provider: ProviderName | null, currency: string): number {
    return provider === null ? 0 : (this.#minimums.get(`${provider}/${currency}`) ?? 0);
  }
}
