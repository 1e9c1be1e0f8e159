import type { Attributes, Context, Span as SdkSpan, SpanContext } from '@opentelemetry/api';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { Secret } from '../crypto/secret.ts';
import type { Logger } from './log.ts';

/**
 * Traces, from a delivery or a debit to the message it causes. They are off unless an OTLP endpoint is configured. While they are
 * off, OpenTelemetry's SDK is not loaded, and all spans are one object that does nothing.
 *
 * If a trace continues in another process or after a wait, its `traceparent` is stored with the job, event or message. Spans
 * hold provider, type, id, outcome and counts; never an amount, an address, a body or a secret.
 */
export interface Tracing {
  /** If false, no span is sent anywhere, so work that is only for spans can be left out. */
  readonly isOn: boolean;
  /** Begins a span. The caller must end it. */
  start(name: string, options?: SpanOptions): Span;
  /** Sends what was collected; gives up after 3 s. Nothing can be traced afterwards. */
  close(): Promise<void>;
}

export interface SpanOptions {
  /** `server` and `consumer` do work that somebody asked for; `client` and `producer` ask others for work. */
  readonly kind?: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  /** The `traceparent` of the cause. Without one, or if it is not valid, the span begins a new trace. */
  readonly parent?: string | null | undefined;
  /** `traceparent`s of other traces that the span belongs to as well. */
  readonly links?: readonly string[];
  readonly attributes?: Attributes;
}

export interface Span {
  /** Lets others continue this span's trace (W3C Trace Context, version 00). Null while traces are off. */
  readonly traceParent: string | null;
  /** Adds attributes that became known later. */
  note(attributes: Attributes): void;
  /** Ends the span. With an error, or the name of a failure, it counts as failed. */
  end(attributes?: Attributes, error?: unknown): void;
}

const NO_SPAN: Span = { traceParent: null, note: () => {}, end: () => {} };

/** Traces that are off. */
export const NO_TRACING: Tracing = { isOn: false, start: () => NO_SPAN, close: async () => {} };

/** https://www.w3.org/TR/trace-context/#traceparent-header; ids of zeros alone are invalid. */
const TRACE_PARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;

/** The part of the configuration that says where traces go, under its variables' names. */
export interface TracingConfig {
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string | undefined;
  readonly OTEL_EXPORTER_OTLP_TRACES_ENDPOINT?: string | undefined;
  readonly OTEL_EXPORTER_OTLP_HEADERS: ReadonlyMap<string, Secret>;
  readonly OTEL_SERVICE_NAME: string;
}

/** How long a stop waits for spans to be sent. The rest is lost, which is acceptable: no money depends on them. */
const CLOSE_WITHIN_MS = 3_000;
/** How long to wait for the collector. Meanwhile up to 2,048 spans are queued, and more are dropped. */
const EXPORT_TIMEOUT_MS = 5_000;
const WARN_EVERY_MS = 60_000;

/** Loads the SDK and begins to collect, if the configuration names a collector; else {@link NO_TRACING}. */
export async function startTracing(config: TracingConfig, logger: Logger): Promise<Tracing> {
  const url = tracesUrl(config);
  if (url === null) return NO_TRACING;
  const [api, sdk, { OTLPTraceExporter }, { defaultResource, resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ]);
  const headers = Object.fromEntries([...config.OTEL_EXPORTER_OTLP_HEADERS].map(([name, one]) => [name, one.reveal()]));
  const exporter = new OTLPTraceExporter({ url, headers, timeoutMillis: EXPORT_TIMEOUT_MS });
  const provider = new sdk.BasicTracerProvider({
    resource: defaultResource().merge(resourceFromAttributes({ 'service.name': config.OTEL_SERVICE_NAME })),
    spanProcessors: [new sdk.BatchSpanProcessor(withWarnings(exporter, logger))],
  });
  const tracer = provider.getTracer('chokin');
  return {
    isOn: true,
    start: (name, { kind = 'internal', parent, links = [], attributes = {} } = {}) => {
      const parentContext = parse(parent);
      const context: Context =
        parentContext === null ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, parentContext);
      const linked = links.map(parse).filter((one) => one !== null);
      const options = {
        kind: api.SpanKind[KINDS[kind]],
        attributes,
        links: linked.map((one) => ({ context: one })),
      };
      return toSpan(tracer.startSpan(name, options, context), api.SpanStatusCode.ERROR);
    },
    close: async () => {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, CLOSE_WITHIN_MS);
      await Promise.race([provider.shutdown().catch(() => {}), late]);
      clearTimeout(timer);
    },
  };
}

const KINDS = {
  internal: 'INTERNAL',
  server: 'SERVER',
  client: 'CLIENT',
  producer: 'PRODUCER',
  consumer: 'CONSUMER',
} as const;

function tracesUrl(config: TracingConfig): string | null {
  const { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: exact, OTEL_EXPORTER_OTLP_ENDPOINT: base } = config;
  return exact ?? (base === undefined ? null : `${base.replace(/\/$/, '')}/v1/traces`);
}

/** Reads a `traceparent`; null if it is not valid, since a header from outside may hold anything. */
function parse(traceParent: string | null | undefined): SpanContext | null {
  const [, traceId, spanId, flags] = TRACE_PARENT.exec(traceParent ?? '') ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return null;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
}

function toSpan(span: SdkSpan, errorCode: number): Span {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return {
    traceParent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
    note: (attributes) => void span.setAttributes(attributes),
    end: (attributes = {}, error) => {
      span.setAttributes(attributes);
      // Only the type: an error's message may quote personal text.
      if (error !== undefined) span.setAttribute('error.type', error instanceof Error ? error.name : String(error));
      if (error !== undefined) span.setStatus({ code: errorCode });
      span.end();
    },
  };
}

/** Logs from time to time that traces cannot be sent; the service works on without them. */
function withWarnings(exporter: SpanExporter, logger: Logger): SpanExporter {
  let warnedMs = Number.NEGATIVE_INFINITY;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.error !== undefined && performance.now() - warnedMs > WARN_EVERY_MS) {
          warnedMs = performance.now();
          const { name, message } = result.error;
          logger.warn({ spans: spans.length, reason: `${name}: ${message}`.slice(0, 200) }, 'traces could not be sent');
        }
        done(result);
      }),
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  };
}
