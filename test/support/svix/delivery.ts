import { createHmac } from 'node:crypto';
import {
  newSvixId,
  type StoredApplication,
  type StoredAttempt,
  type StoredEndpoint,
  type StoredMessage,
} from './store.ts';

const SERVER_VERSION = '1.100.0';
const MAX_RESPONSE_BYTES = 20_000;
const HEADERS_KNOWN_MS = 30_000;

export interface Dispatch {
  readonly application: StoredApplication;
  readonly message: StoredMessage;
  /** No other endpoint gets it. */
  readonly only?: string;
  /** A resend: event types and channels are not asked, disabled endpoints are. */
  readonly isManual?: boolean;
}

interface Try {
  readonly dispatch: Dispatch;
  readonly endpoint: StoredEndpoint;
  readonly number: number;
}

type AttemptResult = Pick<StoredAttempt, 'response' | 'responseStatusCode' | 'responseDurationMs' | 'statusText'>;

/** What an endpoint at `….example` is assumed to answer: such hosts are in tests that are not about deliveries. */
const ASSUMED: AttemptResult = {
  response: 'ok',
  responseStatusCode: 200,
  responseDurationMs: 12,
  statusText: 'success',
};

/**
 * The worker of svix-server 1.100.0 (worker.rs): posts messages to the endpoints that want them and records what came of
 * it. It calls loopback alone. Endpoints at `….example` are not called: they get an assumed success at once. Any other
 * host counts as one that the server may not call (as private addresses do outside `SVIX_WHITELIST_SUBNETS`).
 */
export class SvixWorker {
  /** Seconds until each next try, as `SVIX_RETRY_SCHEDULE`; none here unless a test wants them. */
  retrySchedule: readonly number[] = [];
  /** As `SVIX_WORKER_REQUEST_TIMEOUT`. */
  timeoutMs = 5_000;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #timers = new Set<NodeJS.Timeout>();

  /** core/message_app.rs, `filtered_endpoints`, and worker.rs, `process_queue_task_inner`. */
  dispatch(dispatch: Dispatch): void {
    const { application, message, only, isManual = false } = dispatch;
    lookAtHeaders(application);
    for (const endpoint of application.endpoints.values()) {
      if (endpoint.disabled || (only !== undefined && endpoint.id !== only)) continue;
      if (isManual || isWanted(endpoint, message)) this.#start({ dispatch, endpoint, number: 0 });
    }
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.#running);
  }

  #start(job: Try): void {
    const { hostname } = new URL(job.endpoint.url);
    if (hostname.endsWith('.example')) {
      this.#record(job, ASSUMED);
      return;
    }
    const running = this.#try(job).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #try(job: Try): Promise<void> {
    const result = await this.#post(job);
    if (this.#closing.signal.aborted) return;
    const next = result.statusText === 'fail' && !job.dispatch.isManual ? this.retrySchedule[job.number] : undefined;
    this.#record(job, result, next);
    if (next === undefined) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      // What was changed meanwhile counts, the URL for one; a message that was resent with success is not sent again.
      const { application, message } = job.dispatch;
      const endpoint = application.endpoints.get(job.endpoint.id);
      const latest = application.attempts.findLast((a) => a.msgId === message.id && a.endpointId === endpoint?.id);
      if (endpoint === undefined || endpoint.disabled || latest?.nextAttemptAt === null) return;
      this.#start({ dispatch: job.dispatch, endpoint, number: job.number + 1 });
    }, next * 1000);
    this.#timers.add(timer);
  }

  async #post({ dispatch: { application, message }, endpoint }: Try): Promise<AttemptResult> {
    const startedAt = performance.now();
    const failed = (response: string): AttemptResult => ({
      response,
      responseStatusCode: 0,
      responseDurationMs: Math.round(performance.now() - startedAt),
      statusText: 'fail',
    });
    const { hostname } = new URL(endpoint.url);
    if (hostname !== '127.0.0.1' && hostname !== 'localhost') return failed('requests to this IP range are blocked');
    const body = JSON.stringify(message.payload);
    try {
      const answer = await fetch(endpoint.url, {
        method: 'POST',
        redirect: 'manual',
        headers: {
          ...application.headersKnown?.byEndpoint.get(endpoint.id),
          ...signedHeaders(message.id, body, endpoint),
        },
        body,
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.timeoutMs)]),
      });
      const text = Buffer.from(await answer.arrayBuffer())
        .subarray(0, MAX_RESPONSE_BYTES)
        .toString();
      return {
        response: text,
        responseStatusCode: answer.status,
        responseDurationMs: Math.round(performance.now() - startedAt),
        statusText: answer.ok ? 'success' : 'fail',
      };
    } catch (error) {
      return failed(error instanceof Error && error.name === 'TimeoutError' ? 'Timed out' : 'error sending request');
    }
  }

  #record(
    { dispatch: { application, message, isManual = false }, endpoint }: Try,
    result: AttemptResult,
    next?: number,
  ): void {
    application.attempts.push({
      id: newSvixId('atmpt_'),
      msgId: message.id,
      eventId: message.eventId,
      endpointId: endpoint.id,
      url: endpoint.url,
      ...result,
      isManual,
      createdAt: new Date(),
      nextAttemptAt: next === undefined ? null : new Date(Date.now() + next * 1000),
    });
  }
}

/** An endpoint without event types wants all; one with channels wants messages that have one of them. */
function isWanted({ eventTypes, channels }: StoredEndpoint, message: StoredMessage): boolean {
  const hasType = eventTypes === null || eventTypes.includes(message.eventType);
  return hasType && (channels === null || channels.some((channel) => message.channels?.includes(channel)));
}

/**
 * core/message_app.rs, `layered_fetch`: what is known of an application's endpoints is kept for 30 s. A change to an endpoint
 * ends that ({@link forgetHeaders}); one to its headers alone does not (v1/endpoints/endpoint/headers.rs), so they may come
 * into use half a minute late.
 */
function lookAtHeaders(application: StoredApplication): void {
  const now = Date.now();
  if (application.headersKnown !== null && application.headersKnown.untilMs > now) return;
  const byEndpoint = new Map([...application.endpoints.values()].map(({ id, headers }) => [id, headers] as const));
  application.headersKnown = { byEndpoint, untilMs: now + HEADERS_KNOWN_MS };
}

export function forgetHeaders(application: StoredApplication): void {
  application.headersKnown = null;
}

/** worker.rs, `sign_msg` and `generate_msg_headers`: under Svix's own id of the message, by every key that is still valid. */
function signedHeaders(messageId: string, body: string, { secret, oldKeys }: StoredEndpoint): Record<string, string> {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const keys = [secret, ...oldKeys.filter(({ expiresAt }) => expiresAt > new Date()).map((old) => old.secret)];
  const sign = (key: string) =>
    createHmac('sha256', Buffer.from(key.slice('whsec_'.length), 'base64'))
      .update(`${messageId}.${timestamp}.${body}`)
      .digest('base64');
  return {
    'svix-id': messageId,
    'svix-timestamp': timestamp,
    'svix-signature': keys.map((key) => `v1,${sign(key)}`).join(' '),
    'user-agent': `Svix-Webhooks/${SERVER_VERSION}`,
    'content-type': 'application/json',
  };
}
