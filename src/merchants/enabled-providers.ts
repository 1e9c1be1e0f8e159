import { oneOf, text } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { statement } from '../db/statement.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { SourceDirectory } from './sources.ts';

/** How long a change takes to be seen, as with sources themselves. */
const CACHE_MS = 5_000;
const MAX_CACHED = 10_000;

interface Cached {
  readonly providers: Promise<ReadonlySet<ProviderName>>;
  readonly readMs: number;
}

/** By which providers each merchant may be paid. Asked for with every checkout, so it is read now and then only. */
export class EnabledProviders {
  readonly #pool: Pool;
  readonly #sources: SourceDirectory;
  readonly #cache = new Map<string, Cached>();

  constructor({ pool, sources }: { readonly pool: Pool; readonly sources: SourceDirectory }) {
    this.#pool = pool;
    this.#sources = sources;
  }

  async of(merchantId: string): Promise<ReadonlySet<ProviderName>> {
    const readMs = performance.now();
    const cached = this.#cache.get(merchantId);
    if (cached !== undefined && readMs - cached.readMs < CACHE_MS) return cached.providers;
    const providers = this.#read(autocommit(this.#pool), merchantId);
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    this.#cache.set(merchantId, { providers, readMs });
    providers.catch(() => this.#cache.delete(merchantId));
    return providers;
  }

  async #read(db: Queryable, merchantId: string): Promise<ReadonlySet<ProviderName>> {
    const stored = await ENABLED.all(db, { merchantId });
    const configured = this.#sources.configured(merchantId).filter(({ enabled }) => enabled);
    return new Set([...configured, ...stored].map(({ provider }) => provider));
  }
}

const ENABLED = statement({
  params: { merchantId: text },
  row: { provider: oneOf<ProviderName>() },
  text: ({ merchantId }) => `select distinct provider from source where merchant_id = ${merchantId} and enabled`,
});
