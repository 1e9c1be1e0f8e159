import type { IncomingMessage } from 'node:http';
import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { type Caller, findCaller, hashApiKey, type Scope } from '../merchants/api-keys.ts';

/** A revoked key works on for at most this long, and a busy key costs one query in this time. */
const CACHE_MS = 10_000;
/** Far more keys than merchants use at once; past it the cache starts anew. */
const MAX_CACHED = 10_000;

interface Cached {
  readonly caller: Promise<Caller | null>;
  readonly expiresAtMs: number;
}

/** Tells who is calling by the bearer key of a request. */
export class Authenticator {
  readonly #pool: Pool;
  readonly #cache = new Map<string, Cached>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** The caller, or null if the request has no usable key. */
  async authenticate(request: IncomingMessage): Promise<Caller | null> {
    const key = bearerKey(request.headers.authorization);
    if (key === null) return null;
    const keyHash = hashApiKey(key);
    const text = keyHash.toString('base64');
    const now = performance.now();
    const cached = this.#cache.get(text);
    if (cached !== undefined && cached.expiresAtMs > now) return cached.caller;
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    const caller = findCaller(autocommit(this.#pool), keyHash);
    this.#cache.set(text, { caller, expiresAtMs: now + CACHE_MS });
    // Only good news is kept: made-up keys must not fill the memory, and an outage must not outlast itself.
    const found = await caller.catch((error: unknown) => {
      this.#cache.delete(text);
      throw error;
    });
    if (found === null) this.#cache.delete(text);
    return found;
  }
}

/** What a request has as `Authorization: Bearer …`, or null. */
export function bearerKey(header: string | undefined): string | null {
  return /^Bearer +([\x21-\x7e]{1,256})$/i.exec(header ?? '')?.[1] ?? null;
}

/** @throws {RefusalError} FORBIDDEN */
export function requireScope(caller: Caller, scope: Scope): void {
  if (!caller.scopes.has(scope)) refuse('FORBIDDEN', `This API key has no ${scope} access.`);
}
