import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { autocommit } from '../../db/transaction.ts';
import type { Source } from '../../merchants/source.ts';
import { PROVIDER_NAMES } from '../../providers/shared/names.ts';
import { text } from '../../views/fields.ts';
import { publicRoute, type ReadRawBody, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { turnAway } from '../kit/turn-away.ts';

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
  description:
    'For the provider, whose signature stands for a key. The event is stored before the answer and applied moments later; the same event sent again changes nothing. The default source is the one that the environment configures.',
  params: z.strictObject({ provider }),
  handle: ({ services, params, readRawBody, headers, from }) =>
    receive(services, services.sources.byProvider(params.provider), { readRawBody, headers, from }),
});

const bySource = publicRoute({
  ...base,
  path: '/webhooks/{provider}/{source_id}',
  summary: 'Receive an event of any source',
  description:
    'The address of one source, as its `webhook_path` shows it. Otherwise the same as the address without a source.',
  params: z.strictObject({ provider, source_id: text(100, 1) }),
  async handle({ services, params, readRawBody, headers, from }) {
    const { provider, source_id: sourceId } = params;
    const onLimited = () => services.noteLimited({ who: 'address', limit: 'unknown sources' }, from);
    const address = { provider, sourceId, from, onLimited };
    const source = await services.sources.byId(autocommit(services.pool), address);
    return receive(services, source, { readRawBody, headers, from });
  },
});

interface Arriving {
  readonly readRawBody: ReadRawBody;
  readonly headers: IncomingHttpHeaders;
  readonly from: string;
}

/**
 * Providers read only the status: after 2xx they are done, after anything else they send the event again. The body is read
 * last, so that who knows no source, or cannot have signed, costs no memory.
 */
async function receive(
  { receiver }: Services,
  source: Source | null,
  { readRawBody, headers, from }: Arriving,
): Promise<z.output<typeof received>> {
  if (source === null) return turnAway('NOT_FOUND', 'No source is configured for this address.');
  if (!receiver.mayBeSigned(source, headers)) return refuseSignature();
  const receipt = await receiver.receive(source, { rawBody: await readRawBody(source.sourceId), headers, from });
  return receipt.kind === 'refused' ? refuseSignature() : { received: true };
}

/** Only our log has the reason: an attacker must not learn from the answer how to forge better. */
function refuseSignature(): never {
  return turnAway('INVALID_SIGNATURE', "The signature is not valid. The service's log says why.");
}

export const webhookRoutes: readonly Route[] = [byProvider, bySource];
