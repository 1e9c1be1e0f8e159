import { z } from 'zod';
import type { Pool } from '../../db/pool.ts';
import { statement } from '../../db/statement.ts';
import { autocommit } from '../../db/transaction.ts';
import { publicRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';

const ok = z.strictObject({ status: z.literal('ok') });
const ready = ok.extend({
  details: z.strictObject({
    outgoing_webhooks: z.strictObject({
      sender: z.enum(['svix', 'embedded']),
      state: z.enum(['checking', 'ok', 'failed']).meta({ examples: ['ok'] }),
      problem: z
        .string()
        .nullable()
        .meta({ description: 'What is wrong with Svix, and who can mend it.', examples: [null] }),
      endpoints_elsewhere: z
        .int()
        .nullable()
        .meta({
          examples: [0],
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
  summary: 'Whether the process lives',
  description: 'It looks at nothing else, so that an outage of the database restarts nobody.',
  response: { description: 'It does.', schema: ok },
  handle: async () => ({ status: 'ok' as const }),
});

const readyz = publicRoute({
  method: 'get',
  path: '/readyz',
  tag,
  summary: 'Whether the database answers, so that requests can be served',
  description: '503 while it does not, so that a balancer sends nobody here.',
  response: {
    description: 'It does. The details are for people: nothing in them makes the process less ready.',
    schema: ready,
  },
  async handle({ services }) {
    if (!(await databaseAnswers(services.pool))) turnAway('SERVICE_UNAVAILABLE', 'The database does not answer.');
    const { sender, state, problem, endpointsElsewhere } = services.senderStatus();
    const outgoing_webhooks = { sender, state, problem, endpoints_elsewhere: endpointsElsewhere };
    return { status: 'ok' as const, details: { outgoing_webhooks } };
  },
});

/** Load balancers ask every few seconds and give up quickly. */
const READY_WITHIN_MS = 1_000;

const PING = statement({ params: {}, text: () => 'select 1' });

/** Questions under way, by pool. */
const asked = new WeakMap<Pool, Promise<boolean>>();

/**
 * Whether the database answers a query within a second. All who ask meanwhile share one query, since anybody may ask and as often as he
 * likes. Never throws.
 */
export function databaseAnswers(pool: Pool): Promise<boolean> {
  const shared = asked.get(pool);
  if (shared !== undefined) return shared;
  const asking = askDatabase(pool).finally(() => asked.delete(pool));
  asked.set(pool, asking);
  return asking;
}

async function askDatabase(pool: Pool): Promise<boolean> {
  const query = PING.run(autocommit(pool)).then(
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
