import { Svix } from 'svix';
import type { Clock } from '../clock.ts';
import type { Secret } from '../secret.ts';
import { OUTGOING_EVENTS, payloadJsonSchema } from './catalogue.ts';
import { readSvixFailure, type SvixFailure } from './svix-answers.ts';

export type SvixClient = Svix;

export interface SvixAccountOptions {
  readonly token: Secret;
  /** For a self-hosted Svix; the cloud region is in the token. */
  readonly serverUrl?: string;
  readonly clock: Clock;
  readonly timeoutMs?: number;
}

/** A call's result, or why there is none. */
export type SvixAnswer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: SvixFailure };

const TIMEOUT_MS = 10_000;

/**
 * Our account at Svix. Each merchant is one Svix application whose uid is the merchant's id, so that no merchant's
 * endpoint can see another's messages; applications and event types are made at their first use.
 */
export class SvixAccount {
  readonly #client: SvixClient;
  readonly #clock: Clock;
  readonly #applications = new Map<string, Promise<unknown>>();
  #eventTypes: Promise<unknown> | null = null;

  constructor({ token, serverUrl, clock, timeoutMs = TIMEOUT_MS }: SvixAccountOptions) {
    // Retries are our own jobs', with back-off over days. `numRetries: 0` would mean the SDK's default of two.
    this.#client = new Svix(token.reveal(), {
      requestTimeout: timeoutMs,
      retryScheduleInMs: [],
      ...(serverUrl === undefined ? {} : { serverUrl }),
    });
    this.#clock = clock;
  }

  /**
   * Makes a call about a merchant's application, which is made before if need be; also when it turns out that
   * somebody deleted it. A 404 that remains is about something within the application.
   */
  async call<T>(merchantId: string, make: (svix: SvixClient) => Promise<T>): Promise<SvixAnswer<T>> {
    const first = await this.#try(merchantId, make);
    if (first.ok || first.failure.kind !== 'notFound') return first;
    this.#applications.delete(merchantId);
    return this.#try(merchantId, make);
  }

  async #try<T>(merchantId: string, make: (svix: SvixClient) => Promise<T>): Promise<SvixAnswer<T>> {
    try {
      await this.#ensureEventTypes();
      await this.#ensureApplication(merchantId);
      return { ok: true, value: await make(this.#client) };
    } catch (error) {
      return { ok: false, failure: readSvixFailure(error, this.#clock.now()) };
    }
  }

  #ensureApplication(merchantId: string): Promise<unknown> {
    const known = this.#applications.get(merchantId);
    if (known !== undefined) return known;
    const made = this.#client.application.getOrCreate({ uid: merchantId, name: merchantId });
    this.#applications.set(merchantId, made);
    made.catch(() => this.#applications.delete(merchantId));
    return made;
  }

  /** Brings the event types and their schemas to what this release says, once a process. */
  #ensureEventTypes(): Promise<unknown> {
    if (this.#eventTypes !== null) return this.#eventTypes;
    const made = this.#upsertEventTypes();
    this.#eventTypes = made;
    made.catch(() => {
      this.#eventTypes = null;
    });
    return made;
  }

  async #upsertEventTypes(): Promise<void> {
    for (const event of OUTGOING_EVENTS) {
      const schemas = { 1: payloadJsonSchema(event, 'draft-7') };
      await this.#client.eventType.upsert(event.type, { description: event.description, schemas });
    }
  }
}
