import type { Clock } from '../../clock.ts';
import { refuse } from '../../errors.ts';
import { newId } from '../../ids.ts';
import type { Posting } from '../../ledger/entry.ts';
import { RecentPostings } from './recent-postings.ts';
import { unstableKey } from './unstable-key.ts';

export const KEY_GUARDS = ['off', 'flag', 'refuse'] as const;

/** What is done about keys that are made from the clock, by merchant. */
export type KeyGuardMode = (typeof KEY_GUARDS)[number];

export const KEY_WARNINGS = ['unstable_key', 'near_duplicate'] as const;

/** `unstable_key`: the key holds the time. `near_duplicate`: an entry that is the same but for its key was written within a minute. */
export type KeyWarningKind = (typeof KEY_WARNINGS)[number];

export interface KeyWarning {
  readonly merchantId: string;
  readonly warningId: string;
  readonly kind: KeyWarningKind;
  /** Nobody where the key is that of a whole batch. */
  readonly customerId: string | null;
  readonly idempotencyKey: string | null;
  /** The key of the entry before, of a near duplicate. */
  readonly otherKey: string | null;
  /** Whether the request was refused for it. */
  readonly isRefused: boolean;
  readonly apiKeyId: string;
  readonly createdAt: Date;
}

/** Who asks, and what is to be done about it. */
export interface GuardedCaller {
  readonly merchantId: string;
  readonly keyId: string;
  readonly mode: KeyGuardMode;
}

const MOST_POSTINGS = 10_000;
/** Of one merchant between two times that warnings are stored; more are counted alone. */
const MOST_WARNINGS_EACH = 100;
/** Of all merchants. */
const MOST_WARNINGS = 10_000;

export interface KeyGuardOptions {
  readonly clock: Clock;
  readonly count: (kind: KeyWarningKind) => void;
}

/** Watches the keys of requests, in memory alone: what it found waits until somebody takes it away to be stored. */
export class KeyGuard {
  readonly #clock: Clock;
  readonly #count: (kind: KeyWarningKind) => void;
  readonly #recent = new RecentPostings(MOST_POSTINGS);
  #warnings = new Map<string, KeyWarning[]>();
  #waiting = 0;

  constructor({ clock, count }: KeyGuardOptions) {
    this.#clock = clock;
    this.#count = count;
  }

  /**
   * Looks at a key before anything is done under it.
   * @returns whether the request is to be warned of it
   * @throws {RefusalError} UNSTABLE_KEY where the merchant wants that
   */
  checkKey({ mode, ...caller }: GuardedCaller, key: string | null, customerId: string | null): boolean {
    if (mode === 'off' || key === null) return false;
    const now = this.#clock.now();
    if (!unstableKey(key, now)) return false;
    const isRefused = mode === 'refuse';
    this.#warn(caller, { kind: 'unstable_key', customerId, idempotencyKey: key, otherKey: null, isRefused }, now);
    return isRefused ? refuse({ code: 'UNSTABLE_KEY' }) : true;
  }

  /** Looks at an entry that was written just now. Two that are equal may be meant, so that it is never refused. @returns as above */
  notePosting({ mode, ...caller }: GuardedCaller, posting: Posting): boolean {
    if (mode === 'off') return false;
    const now = this.#clock.now();
    const before = this.#recent.note(posting, now.getTime());
    if (before === null) return false;
    const { customerId, idempotencyKey } = posting;
    const rest = { otherKey: before.key, isRefused: false };
    this.#warn(caller, { kind: 'near_duplicate', customerId, idempotencyKey, ...rest }, now);
    return true;
  }

  /** What was found since the last time, by merchant; it is not kept here any longer. */
  take(): ReadonlyMap<string, readonly KeyWarning[]> {
    const taken = this.#warnings;
    this.#warnings = new Map();
    this.#waiting = 0;
    return taken;
  }

  #warn(
    { merchantId, keyId: apiKeyId }: Omit<GuardedCaller, 'mode'>,
    found: Omit<KeyWarning, 'merchantId' | 'warningId' | 'apiKeyId' | 'createdAt'>,
    createdAt: Date,
  ): void {
    this.#count(found.kind);
    const own = this.#warnings.get(merchantId) ?? [];
    if (own.length >= MOST_WARNINGS_EACH || this.#waiting >= MOST_WARNINGS) return;
    own.push({ merchantId, warningId: newId('keyWarning'), apiKeyId, createdAt, ...found });
    this.#warnings.set(merchantId, own);
    this.#waiting += 1;
  }
}
