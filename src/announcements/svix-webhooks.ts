import { refuse } from '../errors.ts';
import { checkEndpoint, checkEventType } from './endpoint-rules.ts';
import type { DeliveryAttempt, EndpointInput, OutgoingWebhooks, WebhookEndpoint } from './outgoing.ts';
import type { SvixAccount, SvixCall } from './svix.ts';
import type { SvixFailure } from './svix-answers.ts';
import type { SvixClient } from './svix-client.ts';

const OLD_SECRET_SECONDS = 86_400;
const PORTAL_LINK_SECONDS = 3600;
const PAGE_SIZE = 250;
const MAX_PAGES = 20;
/** As much of an endpoint's answer as the embedded sender keeps. */
const MAX_RESPONSE_LENGTH = 2048;

/** The merchants' outgoing webhooks as Svix keeps them. */
export class SvixWebhooks implements OutgoingWebhooks {
  readonly #account: SvixAccount;
  readonly #allowPrivate: boolean;

  constructor(account: SvixAccount, allowPrivate: boolean) {
    this.#account = account;
    this.#allowPrivate = allowPrivate;
  }

  async createEndpoint(merchantId: string, input: EndpointInput): Promise<WebhookEndpoint> {
    checkEndpoint(input, this.#allowPrivate);
    const { url, description, disabled, eventTypes } = input;
    const endpoint = await this.#send(merchantId, (svix, application) =>
      svix.endpoint.create(application, { url, description, disabled, ...copyTypes(eventTypes) }),
    );
    return endpoint === null ? unavailable() : toEndpoint(endpoint);
  }

  async listEndpoints(merchantId: string): Promise<readonly WebhookEndpoint[]> {
    const endpoints: WebhookEndpoint[] = [];
    let iterator: string | null = null;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const from: string | null = iterator;
      const answer: SvixEndpointPage | null = await this.#find(merchantId, (svix, application) =>
        svix.endpoint.list(application, { limit: PAGE_SIZE, iterator: from }),
      );
      if (answer === null) return unavailable();
      endpoints.push(...answer.data.map(toEndpoint));
      if (answer.done) break;
      iterator = answer.iterator;
    }
    return endpoints;
  }

  async getEndpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null> {
    const endpoint = await this.#find(merchantId, (svix, application) => svix.endpoint.get(application, endpointId));
    return endpoint === null ? null : toEndpoint(endpoint);
  }

  async updateEndpoint(
    merchantId: string,
    endpointId: string,
    change: Partial<EndpointInput>,
  ): Promise<WebhookEndpoint | null> {
    checkEndpoint(change, this.#allowPrivate);
    const { eventTypes, ...rest } = change;
    const patch = { ...rest, ...(eventTypes === undefined ? {} : copyTypes(eventTypes)) };
    const endpoint = await this.#send(merchantId, (svix, application) =>
      svix.endpoint.patch(application, endpointId, patch),
    );
    return endpoint === null ? null : toEndpoint(endpoint);
  }

  async deleteEndpoint(merchantId: string, endpointId: string): Promise<boolean> {
    const done = await this.#find(merchantId, async (svix, application) => {
      await svix.endpoint.delete(application, endpointId);
      return true;
    });
    return done ?? false;
  }

  async getSecret(merchantId: string, endpointId: string): Promise<string | null> {
    const secret = await this.#find(merchantId, (svix, application) =>
      svix.endpoint.getSecret(application, endpointId),
    );
    return secret?.key ?? null;
  }

  async rotateSecret(merchantId: string, endpointId: string): Promise<string | null> {
    const secret = await this.#find(merchantId, async (svix, application) => {
      await svix.endpoint.rotateSecret(application, endpointId, { gracePeriodSeconds: OLD_SECRET_SECONDS });
      return svix.endpoint.getSecret(application, endpointId);
    });
    return secret?.key ?? null;
  }

  async listAttempts(
    merchantId: string,
    endpointId: string,
    limit: number,
  ): Promise<readonly DeliveryAttempt[] | null> {
    const options = { limit: Math.min(limit, PAGE_SIZE), withContent: true, withMsg: true };
    const answer = await this.#find(merchantId, (svix, application) =>
      svix.messageAttempt.listByEndpoint(application, endpointId, options),
    );
    return answer === null ? null : answer.data.filter(isFinished).map(toAttempt);
  }

  async resend(merchantId: string, endpointId: string, messageId: string): Promise<boolean> {
    const done = await this.#find(merchantId, async (svix, application) => {
      await svix.messageAttempt.resend(application, messageId, endpointId);
      return true;
    });
    return done ?? false;
  }

  async sendTest(merchantId: string, endpointId: string, eventType: string): Promise<string | null> {
    const type = checkEventType(eventType, 'event_type');
    const message = await this.#send(merchantId, (svix, application) =>
      svix.endpoint.sendExample(application, endpointId, { eventType: type }),
    );
    return message?.id ?? null;
  }

  async portalUrl(merchantId: string): Promise<string> {
    const access = await this.#find(merchantId, (svix, application) =>
      svix.authentication.appPortalAccess(application, { expiry: PORTAL_LINK_SECONDS }),
    );
    return access?.url ?? unavailable();
  }

  /** The SDK keeps nothing open. */
  async close(): Promise<void> {}

  /** The result of a call with a body, which Svix may refuse; null if there is nothing of that id. */
  async #send<T>(merchantId: string, make: SvixCall<T>): Promise<T | null> {
    const answer = await this.#account.call(merchantId, make);
    if (answer.ok) return answer.value;
    const { failure } = answer;
    if (failure.kind === 'refused') {
      return refuse('INVALID_REQUEST_BODY', `Svix does not accept this: ${failure.detail}`);
    }
    return failure.kind === 'notFound' ? null : refuseFor(failure);
  }

  /** The result of a call that says nothing but ids; null if there is nothing of them, or if Svix takes them for no ids. */
  async #find<T>(merchantId: string, make: SvixCall<T>): Promise<T | null> {
    const answer = await this.#account.call(merchantId, make);
    if (answer.ok) return answer.value;
    const { failure } = answer;
    return failure.kind === 'notFound' || failure.kind === 'refused' ? null : refuseFor(failure);
  }
}

/** A refusal that says who has to do what. */
function refuseFor(failure: SvixFailure): never {
  switch (failure.kind) {
    case 'conflict':
      return refuse('CONFLICT', 'Svix has this already.');
    case 'rateLimited': {
      const retry_after = failure.retryAfterSeconds;
      return refuse('SERVICE_UNAVAILABLE', `Svix is busy. Try again in ${retry_after} s.`, { retry_after });
    }
    default:
      return unavailable();
  }
}

function unavailable(): never {
  return refuse('SERVICE_UNAVAILABLE', 'Svix, which keeps the webhook endpoints, cannot be used now. Try again later.');
}

function copyTypes(eventTypes: readonly string[] | null): { eventTypes: string[] | null } {
  return { eventTypes: eventTypes === null ? null : [...eventTypes] };
}

type SvixEndpointPage = Awaited<ReturnType<SvixClient['endpoint']['list']>>;
type SvixEndpoint = Awaited<ReturnType<SvixClient['endpoint']['get']>>;
type SvixAttempt = Awaited<ReturnType<SvixClient['messageAttempt']['listByEndpoint']>>['data'][number];

function toEndpoint(endpoint: SvixEndpoint): WebhookEndpoint {
  return {
    id: endpoint.id,
    url: endpoint.url,
    description: endpoint.description,
    eventTypes: endpoint.eventTypes ?? null,
    disabled: endpoint.disabled ?? false,
    createdAt: endpoint.createdAt,
    updatedAt: endpoint.updatedAt,
  };
}

function isFinished({ statusText }: SvixAttempt): boolean {
  return statusText !== 'pending' && statusText !== 'sending';
}

/** Svix gives 0 as the status of a try that got no answer, and says why in place of the response. */
function toAttempt(attempt: SvixAttempt): DeliveryAttempt {
  const text = attempt.response.slice(0, MAX_RESPONSE_LENGTH);
  const isAnswered = attempt.responseStatusCode > 0;
  return {
    id: attempt.id,
    messageId: attempt.msg?.eventId ?? attempt.msgId,
    endpointId: attempt.endpointId,
    eventType: attempt.msg?.eventType ?? '',
    status: attempt.statusText === 'success' ? 'succeeded' : 'failed',
    statusCode: isAnswered ? attempt.responseStatusCode : null,
    error: isAnswered ? null : text || 'no answer',
    response: isAnswered ? text : null,
    durationMs: attempt.responseDurationMs,
    createdAt: attempt.timestamp,
  };
}
