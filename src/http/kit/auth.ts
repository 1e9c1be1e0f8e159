import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../clock.ts';
import type { Secret } from '../../crypto/secret.ts';
import { equalInConstantTime } from '../../crypto/signature.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { noteApiKeyUse } from '../../merchants/api-key-store.ts';
import { type Caller, findCaller, hashApiKey, type Scope } from '../../merchants/api-keys.ts';
import type { Logger } from '../../telemetry/log.ts';

/** A revoked key works on for at most this long, and a busy key costs one query in this time. */
const CACHE_MS = 10_000;
/** Far more keys than merchants use at once; past it the cache starts anew. */
const MAX_CACHED = 10_000;

interface Cached {
  readonly caller: Promise<Caller | null>;
  readonly expiresAtMs: number;
}

export interface AuthServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Tells who is calling by the bearer key of a request. */
export class Authenticator {
  readonly #services: AuthServices;
  readonly #cache = new Map<string, Cached>();

  constructor(services: AuthServices) {
    this.#services = services;
  }

  /** The caller, or null if the request has no usable key. */
  async authenticate(request: IncomingMessage): Promise<Caller | null> {
    const key = bearerKey(request.headers.authorization);
    if (key === null) return null;
    const keyHash = hashApiKey(key);
    const text = keyHash.toString('base64');
    const now = performance.now();
    const cached = this.#cache.get(text);
    if (cached !== undefined && cached.expiresAtMs > now) return this.#unlessEnded(await cached.caller);
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    const caller = findCaller(autocommit(this.#services.pool), keyHash);
    this.#cache.set(text, { caller, expiresAtMs: now + CACHE_MS });
    // Only good news is kept: made-up keys must not fill the memory, and an outage must not outlast itself.
    const found = await caller.catch((error: unknown) => {
      this.#cache.delete(text);
      throw error;
    });
    if (found === null) this.#cache.delete(text);
    const live = this.#unlessEnded(found);
    if (live !== null) this.#noteUse(live);
    return live;
  }

  #unlessEnded(caller: Caller | null): Caller | null {
    const isEnded = caller?.expiresAt != null && caller.expiresAt <= this.#services.clock.now();
    return isEnded ? null : caller;
  }

  /** Nobody waits for it: a request must not fail because its key could not be noted. */
  #noteUse({ keyId }: Caller): void {
    const { pool, clock, logger } = this.#services;
    noteApiKeyUse(autocommit(pool), keyId, clock.now()).catch((error: unknown) =>
      logger.warn({ err: error, keyId }, 'the use of an API key was not noted'),
    );
  }
}

/** Whether the request holds the operator's key; nobody does where none is configured. */
export function isAdmin(request: IncomingMessage, adminKey: Secret | undefined): boolean {
  const key = bearerKey(request.headers.authorization);
  return key !== null && adminKey !== undefined && equalInConstantTime(key, adminKey.reveal());
}

/** What a request has as `Authorization: Bearer …`, or null. */
export function bearerKey(header: string | undefined): string | null {
  return /^Bearer +([\x21-\x7e]{1,256})$/i.exec(header ?? '')?.[1] ?? null;
}

/** @throws {RefusalError} FORBIDDEN */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.isSuspended) refuse('FORBIDDEN', 'This merchant is suspended.');
  if (!caller.scopes.has(scope)) refuse('FORBIDDEN', `This API key has no ${scope} access.`);
}
