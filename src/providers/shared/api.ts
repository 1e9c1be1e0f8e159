import type { Secret } from '../../crypto/secret.ts';

/** The kinds of objects that are listed, in this order: what refers to a payment comes after it. */
export type ListedKind = 'payment' | 'refund' | 'dispute';

/** Listed by when the provider made them: from `since`, before `until`. */
export interface Window {
  readonly since: Date;
  readonly until: Date;
}

/**
 * One object as the provider's API shows it, in the body of the webhook event that would have told of it: what is missing
 * can so be taken in by the very door that events come in by, and is read by the same adapter.
 */
export interface Listed {
  readonly kind: ListedKind;
  /** The provider's id of the payment, refund or dispute. */
  readonly objectId: string;
  /** The provider's word for the object's state: the same object in another state is other news. */
  readonly state: string;
  readonly body: Buffer;
}

export interface Page {
  readonly listed: readonly Listed[];
  /** Where the next page begins; null after the last. Text of the client's own, of at most 1,000 characters. */
  readonly next: string | null;
}

/**
 * A client of one provider account. Objects in a state that no event of the provider tells of are left out. Nothing is
 * repeated here: whoever asks decides when to ask again.
 */
export interface ProviderApi {
  /** What this provider can list. */
  readonly kinds: readonly ListedKind[];
  /**
   * Set where the API does not tell a payment's metadata, which webhooks do: a payment that was missed must not be taken
   * in from here, since whose it is and what for would be a guess.
   */
  readonly omitsMetadata?: true;
  /**
   * A page of what was made within the window. Asked again for the page that failed last, it goes on from where that
   * stopped, so that a page which takes more requests than the provider allows at once comes to its end.
   * @throws {ProviderApiError}
   */
  list(kind: ListedKind, window: Window, cursor: string | null): Promise<Page>;
  /**
   * An object of one of {@link kinds} as it stands, by the id it is listed under, however long ago it was made; null if
   * the provider knows none under this id, or it is in a state that no event tells of.
   * @throws {ProviderApiError}
   */
  retrieve(kind: ListedKind, objectId: string): Promise<Listed | null>;
}

export interface ProviderAccount {
  /** The API key; where a provider wants two parts, both, with a colon between them. */
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
 * Why a provider's API did not answer as asked.
 * `rate_limited`: ask again after `retryAfterSeconds`, or later where it did not say. `unavailable`: a fault of the
 * provider or the network, ask again. `unauthorized`: the key is wrong or lacks a right. `refused`: asking again does not help.
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
