import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino';
import { standardOutput } from './log-sink.ts';

export type { Logger } from 'pino';

/**
 * The process's logger. Callers log chosen fields and never whole objects, so that no body, e-mail address or key gets into the
 * log. Errors keep their type, message, stack and code; Postgres' `detail` quotes values, so it is dropped.
 */
export function createLogger(level: string, name: string, destination: DestinationStream = standardOutput()): Logger {
  const options = {
    name,
    level,
    redact: { paths: ['req.headers.authorization', '*.authorization', '*.secret', '*.token'], censor: '****' },
    serializers: { err: serializeError },
  };
  return pino(options, destination);
}

function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { type: typeof error };
  const { type, message, stack } = stdSerializers.err(error);
  const code = 'code' in error ? error.code : undefined;
  return { type, message, stack, ...(typeof code === 'string' ? { code } : {}) };
}
