import type { PgBoss } from 'pg-boss';
import { z } from 'zod';
import type { Logger } from '../telemetry/log.ts';

const text = z.string().optional().catch(undefined);
const reported = z.object({ message: text, code: text, queue: text }).catch({});

/** pg-boss emits some of its errors as plain objects, with the queue, and with values that Postgres quotes. */
export function logErrorsOf(boss: PgBoss, logger: Logger): void {
  boss.on('error', (error) => {
    const { message: reason, code, queue } = reported.parse(error);
    logger.warn({ reason, code, queue }, 'pg-boss reported an error');
  });
}
