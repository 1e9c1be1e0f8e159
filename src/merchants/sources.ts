import type { Config } from '../config/env.ts';
import type { Secret } from '../crypto/secret.ts';
import type { SecretBox } from '../crypto/secret-box.ts';
import type { Queryable } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { Source, SourceAccountKind, SourceKey } from './source.ts';
import { SourceGuesses } from './source-guesses.ts';
import { selectSourceIds } from './source-id-store.ts';
import { selectSource, selectSourcesWithApi } from './source-store.ts';

/** Finds the source that an event came in by. */
export interface Sources {
  /** The default merchant's source of a provider, which the environment configures; null if it does not. */
  byProvider(provider: ProviderName): Source | null;
  /** An enabled source by the ids in a webhook's address, which anybody may have made up. */
  byId(db: Queryable, address: WebhookAddress): Promise<Source | null>;
  /** Any source of the merchant, enabled or not. */
  find(db: Queryable, merchantId: string, sourceId: string): Promise<Source | null>;
}

export interface WebhookAddress {
  readonly provider: ProviderName;
  readonly sourceId: string;
  /** The network that calls. */
  readonly from: string;
  /** Is called if the network made up too many ids, so that this one was not looked up. */
  readonly onLimited: () => void;
}

/** How long a change of a source, or a new one, takes to be seen by every process. */
const CACHE_MS = 5_000;
const MAX_CACHED = 10_000;
/** Of more sources than this, ids are looked up one by one whoever names them. */
const MAX_LISTED = 50_000;
/** What ids look like, which the database demands. */
const SOURCE_ID = /^src_[a-z0-9_]{1,60}$/;

interface Cached {
  readonly source: Source;
  readonly expiresAtMs: number;
}

/** The environment's sources, and those that the database keeps. */
export class SourceDirectory implements Sources {
  readonly #fromConfig: readonly Source[];
  readonly #box: SecretBox;
  readonly #cache = new Map<string, Cached>();
  /** Until when each id is taken for nobody's. */
  readonly #unknown = new Map<string, number>();
  readonly #guesses = new SourceGuesses();
  #listed: { readonly ids: Promise<ReadonlySet<string>>; readonly readMs: number } | null = null;

  constructor(config: Config, box: SecretBox) {
    this.#fromConfig = sourcesFromConfig(config);
    this.#box = box;
  }

  byProvider(provider: ProviderName): Source | null {
    return this.#fromConfig.find((source) => source.provider === provider) ?? null;
  }

  async byId(db: Queryable, { provider, ...address }: WebhookAddress): Promise<Source | null> {
    const source = this.#held(address.sourceId) ?? (await this.#guessed(db, address));
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

  /** A source that the environment configures; null if it does not. */
  findConfigured({ merchantId, sourceId }: SourceKey): Source | null {
    return this.configured(merchantId).find((source) => source.sourceId === sourceId) ?? null;
  }

  /**
   * The key of a source that may be changed, because the database keeps it.
   * @throws {RefusalError} SOURCE_OF_ENVIRONMENT
   */
  requireStored(key: SourceKey): SourceKey {
    const configured = this.findConfigured(key);
    if (configured === null) return key;
    return refuse({ code: 'SOURCE_OF_ENVIRONMENT', provider: configured.provider });
  }

  /** The source of the environment that has this API key, or null. */
  configuredWithApiKey(apiKey: Secret): Source | null {
    return this.#fromConfig.find((source) => source.apiKey?.equals(apiKey)) ?? null;
  }

  /** The source of the environment, of this provider and mode, that has this webhook secret, or null. */
  configuredWithWebhookSecret({ provider, mode }: Pick<Source, 'provider' | 'mode'>, secret: Secret): Source | null {
    const alike = this.#fromConfig.filter((source) => source.provider === provider && source.mode === mode);
    return alike.find((source) => source.secrets.some((one) => one.equals(secret))) ?? null;
  }

  /** The hashes of the webhook secrets that the environment gives, of whichever merchant's sources. */
  webhookSecretHashes(box: SecretBox): readonly (SourceAccountKind & { readonly keyedHash: Buffer })[] {
    return this.#fromConfig.flatMap(({ merchantId, sourceId, provider, mode, secrets }) =>
      secrets.flatMap((secret) =>
        box.keyedHashes(secret.reveal()).map((keyedHash) => ({ merchantId, sourceId, provider, mode, keyedHash })),
      ),
    );
  }

  /** Every enabled source whose provider's API can be asked, of every merchant. */
  async withApi(db: Queryable): Promise<readonly Source[]> {
    const configured = this.#fromConfig.filter((source) => source.apiKey !== null);
    return [...configured, ...(await selectSourcesWithApi(db, this.#box))];
  }

  /** The sources of the environment, whose providers' APIs cannot be asked. */
  configuredWithoutApi(): readonly Source[] {
    return this.#fromConfig.filter((source) => source.apiKey === null);
  }

  /** To be called after a change, so that this process sees it at once. */
  forget(sourceId: string): void {
    this.#cache.delete(sourceId);
    this.#unknown.delete(sourceId);
    this.#listed = null;
  }

  /** A source that needs no query. */
  #held(sourceId: string): Source | null {
    const configured = this.#fromConfig.find((source) => source.sourceId === sourceId);
    if (configured !== undefined) return configured;
    const cached = this.#cache.get(sourceId);
    return cached !== undefined && cached.expiresAtMs > performance.now() ? cached.source : null;
  }

  /**
   * Looks up an id that a stranger may have made up. One that was nobody's a moment ago costs no query, and from a network that made
   * up too many only those that there are do.
   */
  async #guessed(
    db: Queryable,
    { sourceId, from, onLimited }: Omit<WebhookAddress, 'provider'>,
  ): Promise<Source | null> {
    if (!SOURCE_ID.test(sourceId) || (this.#unknown.get(sourceId) ?? 0) > performance.now()) return null;
    const guess = await this.#guesses.count(from);
    try {
      if (guess.isOver && !(await this.#isListed(db, sourceId))) {
        onLimited();
        return null;
      }
      const source = await this.#get(db, sourceId);
      if (source === null) this.#rememberUnknown(sourceId);
      else await guess.takeBack();
      return source;
    } catch (error) {
      await guess.takeBack();
      throw error;
    }
  }

  #rememberUnknown(sourceId: string): void {
    if (this.#unknown.size >= MAX_CACHED) this.#unknown.clear();
    this.#unknown.set(sourceId, performance.now() + CACHE_MS);
  }

  /** Whether the id is among those that there are. The list is read once in {@link CACHE_MS} at most, however many are asked about. */
  async #isListed(db: Queryable, sourceId: string): Promise<boolean> {
    const nowMs = performance.now();
    if (this.#listed === null || nowMs - this.#listed.readMs > CACHE_MS) {
      const ids = selectSourceIds(db, MAX_LISTED);
      this.#listed = { ids, readMs: nowMs };
      ids.catch(() => {
        this.#listed = null;
      });
    }
    const ids = await this.#listed.ids;
    return ids.has(sourceId) || ids.size >= MAX_LISTED;
  }

  async #get(db: Queryable, sourceId: string): Promise<Source | null> {
    const held = this.#held(sourceId);
    if (held !== null) return held;
    const source = await selectSource(db, this.#box, sourceId);
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    // Ids that name nothing are kept elsewhere: anybody can make them up.
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
    unreadableSecrets: 0,
    mode: config.MODE,
    enabled: true,
  }));
}
