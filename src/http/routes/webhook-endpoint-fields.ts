import { z } from 'zod';
import { OUTGOING_EVENT_TYPES } from '../../outgoing/catalogue.ts';
import { HEADER_NAME, HEADER_VALUE, noEventType } from '../../outgoing/endpoint-rules.ts';
import { text } from '../../views/fields.ts';

/** For the OpenAPI document; `outgoing/endpoint-rules.ts` checks the names, also for the command line. */
const headerName = text(100, 1).meta({ pattern: HEADER_NAME.source });
const headerValue = text(2000, 1).meta({ pattern: HEADER_VALUE.source });

/** What a request may say of an endpoint. */
export const endpointFields = {
  url: text(2000, 1).meta({
    format: 'uri',
    pattern: String.raw`^[\x21-\x7e]+$`,
    description:
      'An https address that is reachable from the internet, without user name and password. http and private addresses with `ALLOW_PRIVATE_ENDPOINTS` only.',
  }),
  description: text(500),
  event_types: z
    .array(z.enum(OUTGOING_EVENT_TYPES, { error: ({ input: name }) => noEventType(name) }), {
      error: 'wants a list of event types, or null for all',
    })
    .min(1, { error: 'wants at least one event type, or null for all' })
    .max(100, { error: 'wants 100 event types or fewer' })
    .nullable(),
  disabled: z.boolean({ error: 'wants true or false' }),
  headers: z
    .record(headerName, headerValue, { error: 'wants an object of header names and values' })
    .refine((headers) => Object.keys(headers).length <= 20, { error: 'wants 20 headers or fewer' })
    .meta({
      maxProperties: 20,
      description:
        'Headers for every request, such as Authorization; all of them. Not those that belong to the message or the connection (Content-…, Host, User-Agent, svix-…, webhook-… and the like).',
    }),
};
