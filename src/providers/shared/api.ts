import type { Secret } from '../../crypto/secret.ts';

/** The kinds of objects that are listed, in this order: refunds and disputes come after their payments. */
export type ListedKind = 'payment' | 'refund' | 'dispute';

/** A window of time by when the provider made the objects: from `since` on, before `until`. */
export interface Window {
  readonly since: Date;
  readonly until: Date;
}

/**
 * One object of the provider's API, as the body of the webhook event that would have told of it. So a missing object is received
 * in the same way as an event, and the same adapter reads it.
 */
export interface Listed {
  readonly kind: ListedKind;
  /** The provider's id of the payment, refund or dispute. */
  readonly objectId: string;
  /** The provider's name of the object's state. The same object in another state counts as other news. */
  readonly state: string;
  readonly body: Buffer;
}

export interface Page {
  readonly listed: readonly Listed[];
  /** Where the next page begins; null after the last. Text of the client's own, of at most 1,000 characters. */
  readonly next: string | null;
  /** What the key may not read, so that something may be missed. It goes to logs: it must quote neither keys nor answers. */
  readonly notice?: string;
}

/**
 * A client of one provider account. Objects in a state that no event of the provider tells of are left out. The client repeats
 * no request; the caller decides when to ask again.
 */
export interface ProviderApi {
  /** What this provider can list. */
  readonly kinds: readonly ListedKind[];
  /**
   * Set if the API does not show a payment's metadata, which webhooks have. Then a missed payment must not be taken in from the
   * API, since it would be a guess whose it is and what it is for.
   */
  readonly omitsMetadata?: true;
  /**
   * The provider's own name of the account that the key opens. Missing where its events name the account, or its API does not.
   * @param timeoutMs when to give up
   * @throws {ProviderApiError} also if the key may not ask for it
   */
  account?(timeoutMs: number): Promise<string>;
  /**
   * A page of objects that were made within the window. After a failure, the same call continues where it stopped, so that a
   * page is completed even if it takes more requests than the provider allows at once.
   * @throws {ProviderApiError}
   */
  list(kind: ListedKind, window: Window, cursor: string | null): Promise<Page>;
  /**
   * The present object of one of {@link kinds} by the id under which it is listed, however old it is; null if the provider does
   * not know the id, or if the object is in a state that no event tells of.
   * @throws {ProviderApiError}
   */
  retrieve(kind: ListedKind, objectId: string): Promise<Listed | null>;
}

export interface ProviderAccount {
  /** The API key; if the provider needs two parts, both with a colon between them. */
  readonly apiKey: Secret;
  readonly mode: 'test' | 'live';
  /** Another address than the provider's own. */
  readonly baseUrl?: string;
  /** When a request is given up; {@link API_TIMEOUT_MS} unless said otherwise. */
  readonly timeoutMs?: number;
}

/** @throws {ProviderApiError} `refused` if the key is not of the form this provider uses */
export type ConnectProviderApi = (account: ProviderAccount) => ProviderApi;

/** Requests that take longer are given up; providers answer lists within a few seconds. */
export const API_TIMEOUT_MS = 30_000;

/**
 * Why a provider's API gave no usable answer.
 * `rate_limited`: ask again after `retryAfterSeconds`, or later if that is null. `unavailable`: a fault of the provider or the
 * network; ask again. `unauthorized`: the key is wrong or lacks a right. `refused`: to ask again does not help.
 */
export class ProviderApiError extends Error {
  readonly kind: 'rate_limited' | 'unavailable' | 'unauthorized' | 'refused';
  readonly retryAfterSeconds: number | null;

  /** The message goes to logs and people: it must quote neither keys nor answers. */
  constructor(kind: ProviderApiError['kind'], message: string, retryAfterSeconds: number | null = null) {
    super(message);
    this.name = 'ProviderApiError';
    this.kind = kind;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
