import express, { type ErrorRequestHandler, type Express } from 'express';
import type { Config } from '../config/env.ts';
import { equalInConstantTime } from '../crypto/signature.ts';
import type { Readiness } from '../db/readiness.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { sayUnready } from '../views/readiness.ts';
import { bearerKey } from './kit/auth.ts';
import { NOWHERE, replyTo } from './kit/failure.ts';
import { send } from './kit/send.ts';

export interface MetricsServices {
  readonly metrics: Metrics;
  readonly config: Pick<Config, 'METRICS_TOKEN'>;
}

/** Adds `/metrics`, for the holder of METRICS_TOKEN alone if there is one. */
export function serveMetrics(app: Express, { metrics, config }: MetricsServices): void {
  const token = config.METRICS_TOKEN?.reveal();
  app.get('/metrics', async (request, response) => {
    if (token !== undefined && !equalInConstantTime(bearerKey(request.headers.authorization) ?? '', token)) {
      send(
        response,
        replyTo({ code: 'UNAUTHORIZED', message: 'This wants METRICS_TOKEN, as "Authorization: Bearer <token>".' }),
      );
      return;
    }
    const body = await metrics.registry.metrics();
    send(response, { status: 200, body, headers: { 'content-type': metrics.registry.contentType } });
  });
}

/** The HTTP side of a process without an API: its metrics, and whether it and its database are well. */
export function createMetricsApp(services: MetricsServices & { readonly readiness: Readiness }): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  serveMetrics(app, services);
  app.get('/healthz', (_request, response) => send(response, { status: 200, body: { status: 'ok' } }));
  app.get('/readyz', async (_request, response) => {
    const { problems } = await services.readiness.ask();
    const message = problems.map(sayUnready).join(' ');
    const ready = { status: 200, body: { status: 'ok' } };
    send(response, problems.length === 0 ? ready : replyTo({ code: 'SERVICE_UNAVAILABLE', message }));
  });
  app.use((_request, response) => send(response, replyTo({ code: 'NOT_FOUND', message: NOWHERE })));
  // Without this, Express would answer with a stack trace.
  app.use(((_error, _request, response, _next) => {
    if (response.headersSent) response.destroy();
    else send(response, replyTo({ code: 'INTERNAL_SERVER_ERROR', message: 'Something went wrong on our side.' }));
  }) satisfies ErrorRequestHandler);
  return app;
}
