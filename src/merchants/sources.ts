import type { Config } from '../config/env.ts';
import type { Secret } from '../crypto/secret.ts';
import type { SecretBox } from '../crypto/secret-box.ts';
import type { Queryable } from '../db/transaction.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { Source } from './source.ts';
import { selectSource, selectSourcesWithApi } from './source-store.ts';

/** Finds the source that an event came in by. */
export interface Sources {
  /** The default merchant's source of a provider, which the environment configures; null if it does not. */
  byProvider(provider: ProviderName): Source | null;
  /** An enabled source by the ids in a webhook's address. */
  byId(db: Queryable, provider: ProviderName, sourceId: string): Promise<Source | null>;
  /** Any source of the merchant, enabled or not. */
  find(db: Queryable, merchantId: string, sourceId: string): Promise<Source | null>;
}

/** How long a change of a source takes to be seen by every process. */
const CACHE_MS = 5_000;
const MAX_CACHED = 10_000;

interface Cached {
  readonly source: Source;
  readonly expiresAtMs: number;
}

/** The environment's sources, and those that the database keeps. */
export class SourceDirectory implements Sources {
  readonly #fromConfig: readonly Source[];
  readonly #box: SecretBox;
  readonly #cache = new Map<string, Cached>();

  constructor(config: Config, box: SecretBox) {
    this.#fromConfig = sourcesFromConfig(config);
    this.#box = box;
  }

  byProvider(provider: ProviderName): Source | null {
    return this.#fromConfig.find((source) => source.provider === provider) ?? null;
  }

  async byId(db: Queryable, provider: ProviderName, sourceId: string): Promise<Source | null> {
    const source = await this.#get(db, sourceId);
    return source !== null && source.provider === provider && source.enabled ? source : null;
  }

  async find(db: Queryable, merchantId: string, sourceId: string): Promise<Source | null> {
    const source = await this.#get(db, sourceId);
    return source !== null && source.merchantId === merchantId ? source : null;
  }

  /** The merchant's sources that the environment configures. */
  configured(merchantId: string): readonly Source[] {
    return this.#fromConfig.filter((source) => source.merchantId === merchantId);
  }

  /** Whether a source of the environment has this API key. */
  hasConfiguredApiKey(apiKey: Secret): boolean {
    return this.#fromConfig.some((source) => source.apiKey?.reveal() === apiKey.reveal());
  }

  /** Every enabled source whose provider's API can be asked, of every merchant. */
  async withApi(db: Queryable): Promise<readonly Source[]> {
    const configured = this.#fromConfig.filter((source) => source.apiKey !== null);
    return [...configured, ...(await selectSourcesWithApi(db, this.#box))];
  }

  /** To be called after a change, so that this process sees it at once. */
  forget(sourceId: string): void {
    this.#cache.delete(sourceId);
  }

  async #get(db: Queryable, sourceId: string): Promise<Source | null> {
    const configured = this.#fromConfig.find((source) => source.sourceId === sourceId);
    if (configured !== undefined) return configured;
    const cached = this.#cache.get(sourceId);
    if (cached !== undefined && cached.expiresAtMs > performance.now()) return cached.source;
    const source = await selectSource(db, this.#box, sourceId);
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    // Ids that name nothing are not kept: anybody can make them up.
    if (source !== null) this.#cache.set(sourceId, { source, expiresAtMs: performance.now() + CACHE_MS });
    else this.#cache.delete(sourceId);
    return source;
  }
}

/** The sources that the environment configures for the default merchant, as `src_<provider>`. */
function sourcesFromConfig(config: Config): readonly Source[] {
  return config.sources.map((settings) => ({
    ...settings,
    merchantId: config.MERCHANT_ID,
    sourceId: `src_${settings.provider}`,
    mode: config.MODE,
    enabled: true,
  }));
}
