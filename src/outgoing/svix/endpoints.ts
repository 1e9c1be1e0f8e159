import type { EndpointInput, WebhookEndpoint } from '../outgoing.ts';
import type { SvixClient } from './client.ts';

/** Endpoints as Svix has them. Everything here throws what the SDK throws. */

const PAGE_SIZE = 250;
const MAX_PAGES = 20;

export type SvixEndpoint = Awaited<ReturnType<SvixClient['endpoint']['get']>>;

/** Makes an endpoint. It is enabled last, so that no message goes out without its headers. */
export async function createAtSvix(svix: SvixClient, application: string, input: EndpointInput): Promise<SvixEndpoint> {
  const { url, description, disabled, eventTypes, headers = {} } = input;
  const plain = { url, description, ...copyTypes(eventTypes) };
  if (Object.keys(headers).length === 0) return svix.endpoint.create(application, { ...plain, disabled });
  const made = await svix.endpoint.create(application, { ...plain, disabled: true });
  try {
    await svix.endpoint.setHeaders(application, made.id, { headers: { ...headers } });
    return await forgetCached(svix, { application, endpointId: made.id }, disabled);
  } catch (error) {
    await svix.endpoint.delete(application, made.id).catch(() => {});
    throw error;
  }
}

/** The newest first. */
export async function listAtSvix(svix: SvixClient, application: string): Promise<readonly SvixEndpoint[]> {
  const endpoints: SvixEndpoint[] = [];
  let iterator: string | null = null;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const from: string | null = iterator;
    const answer: SvixEndpointPage = await svix.endpoint.list(application, { limit: PAGE_SIZE, iterator: from });
    endpoints.push(...answer.data);
    if (answer.done) break;
    iterator = answer.iterator;
  }
  return endpoints;
}

type SvixEndpointPage = Awaited<ReturnType<SvixClient['endpoint']['list']>>;

/** The event types of an endpoint in the form that Svix's client takes; null stands for all. */
export function copyTypes(eventTypes: readonly string[] | null): { eventTypes: string[] | null } {
  return { eventTypes: eventTypes === null ? null : [...eventTypes] };
}

/** An endpoint of Svix in the form that both senders share. */
export function toEndpoint(endpoint: SvixEndpoint, headerNames: readonly string[]): WebhookEndpoint {
  return {
    id: endpoint.id,
    url: endpoint.url,
    description: endpoint.description,
    eventTypes: endpoint.eventTypes ?? null,
    disabled: endpoint.disabled ?? false,
    headerNames,
    createdAt: endpoint.createdAt,
    updatedAt: endpoint.updatedAt,
  };
}

/**
 * The open-source server caches an application's endpoints for half a minute, so that it uses old headers until then. A change
 * of the endpoint itself empties the cache; this makes one.
 */
export function forgetCached(
  svix: SvixClient,
  { application, endpointId }: { readonly application: string; readonly endpointId: string },
  disabled: boolean,
): Promise<SvixEndpoint> {
  return svix.endpoint.patch(application, endpointId, { disabled });
}
