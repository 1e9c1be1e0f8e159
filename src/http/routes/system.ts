import { z } from 'zod';
import type { Pool } from '../../db/pool.ts';
import { autocommit } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { publicRoute, type Route } from '../kit/route.ts';

const ok = z.strictObject({ status: z.literal('ok') });
const ready = ok.extend({
  details: z.strictObject({
    outgoing_webhooks: z.strictObject({
      sender: z.enum(['svix', 'embedded']),
      state: z.enum(['checking', 'ok', 'failed']),
      problem: z.string().nullable().meta({ description: 'What is wrong with Svix, and who can mend it.' }),
      endpoints_elsewhere: z.int().nullable().meta({
        description:
          'Endpoints that were set up with the other sender and hear nothing now: `chokin webhooks move` takes them along.',
      }),
    }),
  }),
});
const tag = 'Service';

const healthz = publicRoute({
  method: 'get',
  path: '/healthz',
  tag,
  summary: 'Whether the process lives; it looks at nothing else, so that an outage of the database restarts nobody',
  response: { description: 'It does.', schema: ok },
  handle: async () => ({ status: 'ok' as const }),
});

const readyz = publicRoute({
  method: 'get',
  path: '/readyz',
  tag,
  summary: 'Whether the database answers, so that requests can be served',
  response: {
    description: 'It does. The details are for people: nothing in them makes the process less ready.',
    schema: ready,
  },
  async handle({ services }) {
    if (!(await databaseAnswers(services.pool))) refuse('SERVICE_UNAVAILABLE', 'The database does not answer.');
    const { sender, state, problem, endpointsElsewhere } = services.senderStatus();
    const outgoing_webhooks = { sender, state, problem, endpoints_elsewhere: endpointsElsewhere };
    return { status: 'ok' as const, details: { outgoing_webhooks } };
  },
});

/** Balancers ask every few seconds and give up quickly. */
const READY_WITHIN_MS = 1_000;

export async function databaseAnswers(pool: Pool): Promise<boolean> {
  const query = autocommit(pool)
    .query('select 1')
    .then(
      () => true,
      () => false,
    );
  const timeout = AbortSignal.timeout(READY_WITHIN_MS);
  const late = new Promise<boolean>((resolve) =>
    timeout.addEventListener('abort', () => resolve(false), { once: true }),
  );
  return Promise.race([query, late]);
}

export const systemRoutes: readonly Route[] = [healthz, readyz];
