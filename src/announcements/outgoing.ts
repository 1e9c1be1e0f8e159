/** What merchants can do with their outgoing webhooks; the same whether Svix delivers or the embedded sender does. */

export interface WebhookEndpoint {
  readonly id: string;
  readonly url: string;
  readonly description: string;
  /** The event types it wants; null for all. */
  readonly eventTypes: readonly string[] | null;
  readonly disabled: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface EndpointInput {
  readonly url: string;
  readonly description: string;
  readonly eventTypes: readonly string[] | null;
  readonly disabled: boolean;
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

/** A message to a merchant. The id is stable: the same message has the same id however often it is published. */
export interface OutgoingMessage {
  readonly merchantId: string;
  /** Letters, digits, `-`, `_` and `.` only, as Svix demands; also the receiver's key for dropping repeats. */
  readonly messageId: string;
  readonly eventType: string;
  /** The exact JSON text that is signed and sent. */
  readonly payload: string;
  /** By which its delivery goes on with a trace. No part of the message. */
  readonly traceParent?: string | null;
}

/**
 * Methods that name an endpoint return null (or false) where the merchant has no such endpoint, and throw a
 * RefusalError for what the merchant must mend (a URL that may not be called, an event type that does not exist).
 */
export interface OutgoingWebhooks {
  createEndpoint(merchantId: string, input: EndpointInput): Promise<WebhookEndpoint>;
  listEndpoints(merchantId: string): Promise<readonly WebhookEndpoint[]>;
  getEndpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null>;
  updateEndpoint(
    merchantId: string,
    endpointId: string,
    change: Partial<EndpointInput>,
  ): Promise<WebhookEndpoint | null>;
  deleteEndpoint(merchantId: string, endpointId: string): Promise<boolean>;
  /** The signing secret, `whsec_` and base64. */
  getSecret(merchantId: string, endpointId: string): Promise<string | null>;
  /** Makes a new secret and returns it; messages are signed with both for the next 24 hours. */
  rotateSecret(merchantId: string, endpointId: string): Promise<string | null>;
  /** Newest first. */
  listAttempts(merchantId: string, endpointId: string, limit: number): Promise<readonly DeliveryAttempt[] | null>;
  /** Sends a message once more to one endpoint, under its own id; false if there is no such message or endpoint. */
  resend(merchantId: string, endpointId: string, messageId: string): Promise<boolean>;
  /** Sends an example of an event type; returns the message's id. */
  sendTest(merchantId: string, endpointId: string, eventType: string): Promise<string | null>;
  /** A link to the Svix App Portal. @throws RefusalError NOT_IMPLEMENTED with the embedded sender */
  portalUrl(merchantId: string): Promise<string>;
  /** Stops timers and connections. */
  close(): Promise<void>;
}
