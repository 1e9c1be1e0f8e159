import { z } from 'zod';
import { startWorker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb } from '../../src/web.ts';
import { STRIPE_SECRET } from '../support/signing.ts';
import { startBaselineWeb, startBaselineWorker } from './baseline.ts';
import { startLimit } from './limits.ts';

/** The processes that the benchmark measures, one a run of this file: ours, the baselines', and bare servers as limits. */
const ROLES = [
  ...(['web', 'worker', 'strong-web', 'strong-worker', 'naive-web', 'naive-worker'] as const),
  ...(['node-http', 'express', 'hmac'] as const),
] as const;
export type Role = (typeof ROLES)[number];

/** Those of the service's own variables that a row may set. */
const OURS = [
  'SVIX_TOKEN',
  'SVIX_SERVER_URL',
  'ALLOW_PRIVATE_ENDPOINTS',
  'STRIPE_API_KEY',
  'STRIPE_API_URL',
  'STRIPE_CHARGING_KEY',
  'CHARGE_RATE',
];

const environment = z.object({ ROLE: z.enum(ROLES), DATABASE_URL: z.string(), API_KEY: z.string() });
const { ROLE: role, DATABASE_URL: databaseUrl, API_KEY: apiKey } = environment.parse(process.env);
const logger = createLogger('error', role);

function ours() {
  const set = OURS.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]] as const]));
  const fixed = { PORT: '0', API_KEY: apiKey, LOG_LEVEL: 'error', RATE_LIMIT_PER_MINUTE: '0' };
  const config = loadConfig({ ...fixed, STRIPE_WEBHOOK_SECRET: STRIPE_SECRET, ...Object.fromEntries(set) });
  return { config, databaseUrl, logger, clock: systemClock };
}

async function start(): Promise<string> {
  const baseline = (strength: 'strong' | 'naive') => ({ strength, databaseUrl, apiKey, name: role });
  switch (role) {
    case 'web':
      return (await startWeb({ ...ours(), print: () => {} })).url;
    case 'worker':
      await startWorker(ours());
      return '';
    case 'strong-web':
      return startBaselineWeb(baseline('strong'));
    case 'naive-web':
      return startBaselineWeb(baseline('naive'));
    case 'strong-worker':
      await startBaselineWorker(baseline('strong'));
      return '';
    case 'naive-worker':
      await startBaselineWorker(baseline('naive'));
      return '';
    default:
      return startLimit(role);
  }
}

const url = await start();
process.send?.({ url });
process.on('disconnect', () => process.exit(0));
