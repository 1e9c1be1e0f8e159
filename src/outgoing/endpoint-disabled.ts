import { newId } from '../ids.ts';
import { outgoingMessage } from './catalogue.ts';
import type { OutgoingMessage } from './outgoing.ts';

export interface DisabledEndpoint {
  readonly merchantId: string;
  readonly endpointId: string;
  readonly description: string;
  /** Null where only Svix knows it. */
  readonly failingSince: Date | null;
}

/**
 * Tells the merchant's other endpoints that a sender gave up on this one. The URL is left out, since it may hold a password
 * that the other receivers must not see.
 */
export function disabledMessage(endpoint: DisabledEndpoint, now: Date): OutgoingMessage {
  const { merchantId, endpointId, description, failingSince } = endpoint;
  return outgoingMessage(
    'endpoint.disabled',
    { merchantId, messageId: newId('message'), at: now },
    {
      endpoint_id: endpointId,
      description,
      failing_since: failingSince?.toISOString() ?? null,
      disabled_at: now.toISOString(),
    },
  );
}
