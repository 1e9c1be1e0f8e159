import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../clock.ts';
import type { Secret } from '../../crypto/secret.ts';
import { equalInConstantTime } from '../../crypto/signature.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit } from '../../db/transaction.ts';
import { noteApiKeyUse } from '../../merchants/api-key-store.ts';
import { type Caller, findCaller, hashApiKey, recentKeys, type Scope } from '../../merchants/api-keys.ts';
import type { Logger } from '../../telemetry/log.ts';
import { turnAway } from './turn-away.ts';

/** A revoked key works on for at most this long, and a busy key costs one query in this time. */
const CACHE_MS = 10_000;
/** How long it is remembered that there is no such key. */
const UNKNOWN_MS = 5_000;
/** Far more keys than are used at a time. When a memory of keys has this many, it is emptied. */
const MAX_CACHED = 10_000;
/** How old the list of keys in use may be, by which keys from a limited address are judged. */
const RECENT_MS = 10_000;

/** The last header of a connection, with the name under which its key is remembered. */
interface Sent {
  readonly header: string;
  readonly text: string;
}

interface Cached {
  readonly caller: Promise<Caller | null>;
  /** The same, once it is there. */
  found: Caller | null;
  readonly expiresAtMs: number;
}

export interface AuthServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Finds out who is calling, by the bearer key of the request. */
export class Authenticator {
  readonly #services: AuthServices;
  readonly #cache = new Map<string, Cached>();
  /** Until when each is taken for unknown. */
  readonly #unknown = new Map<string, number>();
  /** A connection brings the same key with each request: hashing it anew took 3 % of a read. It ends with the connection. */
  readonly #sent = new WeakMap<Socket, Sent>();
  #recent: { readonly keys: Promise<ReadonlySet<string>>; readonly readMs: number } | null = null;

  constructor(services: AuthServices) {
    this.#services = services;
  }

  /** Whose key the request has, where that is known at once: nearly always, and then nobody has to wait. */
  known(request: IncomingMessage): Caller | null {
    const text = this.#nameOf(request);
    const cached = text === null ? undefined : this.#cache.get(text);
    return cached === undefined || cached.expiresAtMs <= performance.now() ? null : this.#unlessEnded(cached.found);
  }

  /** What is known of the request's key without a query: its caller, null if there is none, or undefined if it has to be looked up. */
  remembered(request: IncomingMessage): Promise<Caller | null> | undefined {
    const text = this.#nameOf(request);
    if (text === null) return Promise.resolve(null);
    const nowMs = performance.now();
    const cached = this.#cache.get(text);
    if (cached !== undefined && cached.expiresAtMs > nowMs) {
      return cached.caller.then((caller) => this.#unlessEnded(caller));
    }
    return (this.#unknown.get(text) ?? 0) > nowMs ? Promise.resolve(null) : undefined;
  }

  /** Under what the request's key is remembered: its hash. Null if it has none. */
  #nameOf({ headers, socket }: IncomingMessage): string | null {
    const header = headers.authorization ?? '';
    const sent = this.#sent.get(socket);
    if (sent?.header === header) return sent.text;
    const key = bearerKey(header);
    if (key === null) return null;
    const text = hashApiKey(key).toString('base64');
    this.#sent.set(socket, { header, text });
    return text;
  }

  /**
   * Whether the request's key is among those that were used or made last. The list is read once in ten seconds at most,
   * however many keys are asked about, so a right key is told from wrong ones without a query for each.
   */
  async isRecent(request: IncomingMessage): Promise<boolean> {
    const nowMs = performance.now();
    if (this.#recent === null || nowMs - this.#recent.readMs > RECENT_MS) {
      const keys = recentKeys(autocommit(this.#services.pool), MAX_CACHED);
      this.#recent = { keys, readMs: nowMs };
      keys.catch(() => {
        this.#recent = null;
      });
    }
    const key = bearerKey(request.headers.authorization);
    return key !== null && (await this.#recent.keys).has(hashApiKey(key).toString('base64'));
  }

  /** The caller by a query, or null if the request has no usable key. */
  async lookUp(request: IncomingMessage): Promise<Caller | null> {
    const key = bearerKey(request.headers.authorization);
    if (key === null) return null;
    const keyHash = hashApiKey(key);
    const text = keyHash.toString('base64');
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    const caller = findCaller(autocommit(this.#services.pool), keyHash);
    const cached: Cached = { caller, found: null, expiresAtMs: performance.now() + CACHE_MS };
    this.#cache.set(text, cached);
    // A failed look-up must not be remembered.
    const found = await caller.catch((error: unknown) => {
      this.#cache.delete(text);
      throw error;
    });
    cached.found = found;
    if (found === null) this.#rememberUnknown(text);
    const live = this.#unlessEnded(found);
    if (live !== null) this.#noteUse(live);
    return live;
  }

  /** Apart from the keys that there are, which made-up ones must not push out. */
  #rememberUnknown(text: string): void {
    this.#cache.delete(text);
    if (this.#unknown.size >= MAX_CACHED) this.#unknown.clear();
    this.#unknown.set(text, performance.now() + UNKNOWN_MS);
  }

  #unlessEnded(caller: Caller | null): Caller | null {
    const isEnded = caller?.expiresAt != null && caller.expiresAt <= this.#services.clock.now();
    return isEnded ? null : caller;
  }

  /** Notes when the key was used. Nobody waits for it: a request must not fail because this note failed. */
  #noteUse({ merchantId, keyId }: Caller): void {
    const { pool, clock, logger } = this.#services;
    noteApiKeyUse(autocommit(pool), { merchantId, keyId }, clock.now()).catch((error: unknown) =>
      logger.warn({ err: error, keyId }, 'the use of an API key was not noted'),
    );
  }
}

/** Whether the request carries ADMIN_KEY; false if none is configured. */
export function isAdmin(request: IncomingMessage, adminKey: Secret | undefined): boolean {
  const key = bearerKey(request.headers.authorization);
  return key !== null && adminKey !== undefined && equalInConstantTime(key, adminKey.reveal());
}

/** The key in `Authorization: Bearer …`, or null if there is none. */
export function bearerKey(header: string | undefined): string | null {
  return /^Bearer +([\x21-\x7e]{1,256})$/i.exec(header ?? '')?.[1] ?? null;
}

/** @throws {TurnedAwayError} FORBIDDEN */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.isSuspended) turnAway('FORBIDDEN', 'This merchant is suspended.');
  if (!caller.scopes.has(scope)) turnAway('FORBIDDEN', `This API key has no ${scope} access.`);
}
