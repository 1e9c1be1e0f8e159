import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { autocommit } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import type { Source } from '../../merchants/source.ts';
import { PROVIDER_NAMES } from '../../providers/shared/names.ts';
import { text } from '../../views/fields.ts';
import { publicRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';

/** Providers send some kilobytes; a megabyte leaves room for the longest line items. */
const LIMIT_BYTES = 1024 * 1024;

const provider = z.enum(PROVIDER_NAMES);
const received = z.strictObject({ received: z.literal(true) });
const description = 'The event is stored, now or before; it will not be asked for again.';

const base = {
  method: 'post',
  tag: 'Provider events',
  rawBodyLimitBytes: LIMIT_BYTES,
  response: { description, schema: received },
  errors: ['INVALID_SIGNATURE'],
} as const;

const byProvider = publicRoute({
  ...base,
  path: '/webhooks/{provider}',
  summary: "Receive an event of a provider's default source",
  params: z.strictObject({ provider }),
  handle: ({ services, params, rawBody, headers }) =>
    receive(services, services.sources.byProvider(params.provider), rawBody, headers),
});

const bySource = publicRoute({
  ...base,
  path: '/webhooks/{provider}/{source_id}',
  summary: 'Receive an event of any source',
  params: z.strictObject({ provider, source_id: text(100, 1) }),
  async handle({ services, params, rawBody, headers }) {
    const source = await services.sources.byId(autocommit(services.pool), params.provider, params.source_id);
    return receive(services, source, rawBody, headers);
  },
});

/** Providers read the status alone: 2xx ends the matter, anything else brings the event again. */
async function receive(
  { receiver }: Services,
  source: Source | null,
  rawBody: Buffer,
  headers: IncomingHttpHeaders,
): Promise<z.output<typeof received>> {
  if (source === null) return refuse('NOT_FOUND', 'No source is configured for this address.');
  const receipt = await receiver.receive(source, { rawBody, headers });
  // Why it was refused is for our log: a forger must not learn from us what to do better.
  if (receipt.kind === 'refused') return refuse('INVALID_SIGNATURE', 'The signature is not valid.');
  return { received: true };
}

export const webhookRoutes: readonly Route[] = [byProvider, bySource];
