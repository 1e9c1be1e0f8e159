import { z } from 'zod';
import { sayUnready } from '../../views/readiness.ts';
import { publicRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';

const ok = z.strictObject({ status: z.literal('ok') });
const ready = ok.extend({
  details: z.strictObject({
    database: z.strictObject({
      newer_migrations: z
        .array(z.string())
        .meta({ description: 'Migrations of a newer release, which this process does not know.', examples: [[]] }),
      missing_keys: z.array(z.string()).meta({
        description: 'Keys that stored secrets are encrypted with and `ENCRYPTION_KEY` lacks.',
        examples: [[]],
      }),
      clock_ahead_ms: z
        .int()
        .nullable()
        .meta({
          description: "By how much this process's clock is ahead of the database's; negative if it is behind.",
          examples: [2],
        }),
    }),
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
            'Endpoints that were set up with the other sender and hear nothing now: `npx chokin webhooks move` takes them along.',
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
  summary: 'Whether this process could post now',
  description:
    '503 with what is wrong and who can mend it while it could not, so that a balancer sends nobody here: the database does not answer, only reads, or has an older schema; the process is about to stop. A busy process is ready.',
  response: {
    description: 'It could. The details are for people: nothing in them makes the process less ready.',
    schema: ready,
  },
  async handle({ services }) {
    const { problems, newerMigrations, clockAheadMs, missingKeys } = await services.readiness.ask();
    if (problems.length > 0) turnAway('SERVICE_UNAVAILABLE', problems.map(sayUnready).join(' '));
    const { sender, state, problem, endpointsElsewhere } = services.senderStatus();
    const outgoing_webhooks = { sender, state, problem, endpoints_elsewhere: endpointsElsewhere };
    const database = {
      newer_migrations: [...(newerMigrations ?? [])],
      clock_ahead_ms: clockAheadMs,
      missing_keys: [...missingKeys],
    };
    return { status: 'ok' as const, details: { database, outgoing_webhooks } };
  },
});

export const systemRoutes: readonly Route[] = [healthz, readyz];
