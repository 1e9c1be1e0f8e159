/** What merchants can do with their outgoing webhooks; the same whether Svix delivers or the embedded sender does. */

export interface WebhookEndpoint {
  readonly id: string;
  readonly url: string;
  readonly description: string;
  /** The event types it wants; null for all. */
  readonly eventTypes: readonly string[] | null;
  readonly disabled: boolean;
  /** The names of its headers only, since their values may be passwords. */
  readonly headerNames: readonly string[];
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Headers that go with every request to an endpoint, by name. */
export type EndpointHeaders = Readonly<Record<string, string>>;

/** An endpoint by its ids. */
export interface EndpointKey {
  readonly merchantId: string;
  readonly endpointId: string;
}

export interface EndpointInput {
  readonly url: string;
  readonly description: string;
  readonly eventTypes: readonly string[] | null;
  readonly disabled: boolean;
  /** All headers. Left out of a new endpoint: none. Left out of a change: they stay as they are. */
  readonly headers?: EndpointHeaders;
}

/** One try to deliver one message to one endpoint. */
export interface DeliveryAttempt {
  readonly id: string;
  readonly messageId: string;
  readonly endpointId: string;
  readonly eventType: string;
  readonly status: 'succeeded' | 'failed';
  /** Null when no answer came. */
  readonly statusCode: number | null;
  /** Why no answer came; null when one did. */
  readonly error: string | null;
  /** The start of the endpoint's answer. */
  readonly response: string | null;
  readonly durationMs: number | null;
  readonly createdAt: Date;
}

/** Which attempts, and how many; all filters hold together. */
export interface AttemptQuery {
  readonly pageSize: number;
  /** The cursor of the page before; null for the first. */
  readonly cursor: string | null;
  readonly status: DeliveryAttempt['status'] | null;
  readonly eventType: string | null;
  readonly messageId: string | null;
  /** From this time on. */
  readonly since: Date | null;
  /** Before this time. */
  readonly until: Date | null;
}

/** Newest first. */
export interface AttemptPage {
  readonly attempts: readonly DeliveryAttempt[];
  /** For the page after; null if there is none. */
  readonly nextCursor: string | null;
}

/** Consecutive entries of one wallet. */
export interface EntryRange {
  readonly customerId: string;
  readonly currency: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Which messages an endpoint is to get that it missed. */
export interface RecoveryWindow {
  readonly since: Date;
  /** Null for now. */
  readonly until: Date | null;
}

/** Sending again what one endpoint missed, page by page. */
export interface Recovery {
  readonly recoveryId: string;
  readonly endpointId: string;
  readonly since: Date;
  readonly until: Date;
  /** stopped: it could not go on, for the `reason`. */
  readonly state: 'running' | 'finished' | 'stopped';
  readonly reason: string | null;
  /** Messages that were kept, and are sent again. */
  readonly resent: number;
  /** How many messages were made now, of entries that no message told of because no endpoint listened. */
  readonly rebuilt: number;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

/** A message to a merchant. The id is stable: the same message has the same id however often it is published. */
export interface OutgoingMessage {
  readonly merchantId: string;
  /** Only letters, digits, `-`, `_` and `.`, as Svix demands. Receivers drop repeats by it. */
  readonly messageId: string;
  readonly eventType: string;
  /** The exact JSON text that is signed and sent. */
  readonly payload: string;
  /** The trace that its delivery belongs to; no part of the message itself. */
  readonly traceParent?: string | null;
  /** The entries it tells of, if it tells of any. */
  readonly range?: EntryRange | null;
}

/**
 * Methods that name an endpoint return null (or false) where the merchant has no such endpoint, and throw a
 * RefusalError for what the merchant must mend (a URL that may not be called, an event type that does not exist).
 * Where Svix keeps the endpoints, every method that asks it throws one as well if it does not answer (SVIX_UNAVAILABLE), wants
 * us to wait (SVIX_BUSY) or already has what it is asked to make (SVIX_HAS_IT).
 */
export interface OutgoingWebhooks {
  /**
   * With `since`, the endpoint also gets the messages from that time on.
   * @throws {RefusalError} INVALID_FIELD, ENDPOINT_LIMIT, SVIX_REFUSES; with `since` also ENDPOINT_DISABLED
   */
  createEndpoint(merchantId: string, input: EndpointInput, since?: Date): Promise<WebhookEndpoint>;
  listEndpoints(merchantId: string): Promise<readonly WebhookEndpoint[]>;
  getEndpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null>;
  /** @throws {RefusalError} INVALID_FIELD; SVIX_REFUSES if Svix takes it for wrong */
  updateEndpoint(
    merchantId: string,
    endpointId: string,
    change: Partial<EndpointInput>,
  ): Promise<WebhookEndpoint | null>;
  deleteEndpoint(merchantId: string, endpointId: string): Promise<boolean>;
  /** The headers with their values; null for a value that Svix does not show. */
  getHeaders(merchantId: string, endpointId: string): Promise<Readonly<Record<string, string | null>> | null>;
  /** The signing secret, `whsec_` and base64. */
  getSecret(merchantId: string, endpointId: string): Promise<string | null>;
  /**
   * Makes a new secret and returns it; messages are signed with each old one too for 24 hours.
   * @throws {RefusalError} SECRET_ROTATED_TOO_OFTEN after ten rotations within 24 hours
   */
  rotateSecret(merchantId: string, endpointId: string): Promise<string | null>;
  listAttempts(merchantId: string, endpointId: string, query: AttemptQuery): Promise<AttemptPage | null>;
  /**
   * Sends a message once more to one endpoint, under its own id; false if there is no such message or endpoint.
   * @throws {RefusalError} ENDPOINT_DISABLED, ENDPOINT_NOT_SUBSCRIBED to the message's type, or MESSAGE_FORGOTTEN by Svix
   */
  resend(merchantId: string, endpointId: string, messageId: string): Promise<boolean>;
  /**
   * Sends an example of an event type to this endpoint alone; returns the message's id.
   * @throws {RefusalError} INVALID_FIELD for a type that does not exist; ENDPOINT_DISABLED, ENDPOINT_NOT_SUBSCRIBED to the type,
   *   SVIX_REFUSES
   */
  sendTest(merchantId: string, endpointId: string, eventType: string): Promise<string | null>;
  /**
   * Begins to send what the endpoint missed, at most 30 days of it.
   * @throws {RefusalError} INVALID_FIELD for the window; ENDPOINT_DISABLED, or RECOVERY_UNDER_WAY for this endpoint already
   */
  recover(merchantId: string, endpointId: string, window: RecoveryWindow): Promise<Recovery | null>;
  getRecovery(merchantId: string, endpointId: string, recoveryId: string): Promise<Recovery | null>;
  /** A link to the Svix App Portal. @throws {RefusalError} PORTAL_NEEDS_SVIX or PORTAL_NOT_IN_SVIX if there is no portal */
  portalUrl(merchantId: string): Promise<string>;
  /** Stops timers and connections. */
  close(): Promise<void>;
}
