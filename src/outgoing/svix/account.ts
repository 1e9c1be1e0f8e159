import type { Clock } from '../../clock.ts';
import { OUTGOING_EVENTS, payloadJsonSchema } from '../catalogue.ts';
import { isOurFailure, readSvixFailure, type SvixFailure } from './answers.ts';
import { type ApplicationIdentity, ensureApplication, type IdentityOf } from './applications.ts';
import { SvixClient, type SvixClientOptions } from './client.ts';

export interface SvixAccountOptions extends SvixClientOptions {
  readonly clock: Clock;
  /** Finds the identity of a merchant's application. May throw only for failures of our own. */
  readonly identityOf: IdentityOf;
}

/** A call's result, or why there is none. */
export type SvixAnswer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: SvixFailure };

/** A call to Svix about the application whose uid it is given. */
export type SvixCall<T> = (svix: SvixClient, application: string) => Promise<T>;

/**
 * Our account at Svix. Each merchant is one Svix application of its own, so that no merchant's endpoint can see another's
 * messages; applications and event types are made at their first use.
 */
export class SvixAccount {
  /** The server's name in messages to people. Its address may be internal, so it is not shown. */
  readonly where: string;
  readonly #client: SvixClient;
  readonly #clock: Clock;
  readonly #identityOf: IdentityOf;
  /** By merchant; kept while the application is known to be there. */
  readonly #identities = new Map<string, Promise<ApplicationIdentity>>();
  readonly #applications = new Map<string, Promise<void>>();
  #eventTypes: Promise<unknown> | null = null;

  constructor({ clock, identityOf, ...client }: SvixAccountOptions) {
    this.where = client.serverUrl === undefined ? "Svix's cloud" : 'the Svix server of SVIX_SERVER_URL';
    this.#client = new SvixClient(client);
    this.#clock = clock;
    this.#identityOf = identityOf;
  }

  /**
   * Makes a call about a merchant's application. The application is made first if it is missing, also if somebody deleted it
   * at Svix. So a 404 in the answer is about something inside the application.
   */
  async call<T>(merchantId: string, make: SvixCall<T>): Promise<SvixAnswer<T>> {
    const first = await this.#try(merchantId, make);
    if (first.ok || first.failure.kind !== 'notFound') return first;
    this.#identities.delete(merchantId);
    this.#applications.delete(merchantId);
    return this.#try(merchantId, make);
  }

  /** The client itself, to read what exists without making anything first. */
  get client(): SvixClient {
    return this.#client;
  }

  /** Makes a call that is about no merchant. */
  async callAccount<T>(make: (svix: SvixClient) => Promise<T>): Promise<SvixAnswer<T>> {
    try {
      await this.ensureEventTypes();
      return { ok: true, value: await make(this.#client) };
    } catch (error) {
      return { ok: false, failure: readSvixFailure(error, this.#clock.now()) };
    }
  }

  async #try<T>(merchantId: string, make: SvixCall<T>): Promise<SvixAnswer<T>> {
    // This reads our own database. Its failure is no answer of Svix, so it is thrown.
    const identity = await remember(this.#identities, merchantId, () => this.#identityOf(merchantId));
    try {
      await this.ensureEventTypes();
      await remember(this.#applications, merchantId, () => ensureApplication(this.#client, identity));
      return { ok: true, value: await make(this.#client, identity.uid) };
    } catch (error) {
      // The call may also fail by something of ours that it reads: the database, or a secret that does not open.
      if (isOurFailure(error)) throw error;
      return { ok: false, failure: readSvixFailure(error, this.#clock.now()) };
    }
  }

  /** Gives Svix the event types and schemas of this release, once in a process. */
  ensureEventTypes(): Promise<unknown> {
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

/** What was made for a key before, or is made now; a failure is not remembered. */
function remember<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const existing = known.get(key);
  if (existing !== undefined) return existing;
  const made = make();
  known.set(key, made);
  made.catch(() => known.delete(key));
  return made;
}
