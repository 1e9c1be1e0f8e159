import type { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { createBoss } from '../../src/db/boss.ts';
import { createLogger } from '../../src/telemetry/log.ts';

/** The log lines after pg-boss emitted these errors. It is not started: nothing is asked of a database. */
function logged(...errors: readonly unknown[]): Record<string, unknown>[] {
  const lines: string[] = [];
  const logger = createLogger('info', 'test', { write: (line) => void lines.push(line) });
  const databaseUrl = 'postgres://nobody@127.0.0.1:1/chokin';
  const boss: EventEmitter = createBoss({
    databaseUrl,
    applicationName: 'test',
    maxConnections: 1,
    works: false,
    logger,
  });
  for (const error of errors) boss.emit('error', error);
  return lines.map((line) => JSON.parse(line));
}

describe('an error that pg-boss reports', () => {
  it.each([
    ['a plain object, as it emits those of a queue', (fields: object) => ({ ...fields, stack: 'at …' })],
    ['an Error', (fields: object) => Object.assign(new Error(), fields)],
  ])('is logged with its reason, code and queue, and no value: %s', (_name, errorOf) => {
    const message = 'terminating connection due to administrator command';
    const detail = 'Key (email)=(ada@example.com) already exists.';
    const lines = logged(errorOf({ message, code: '57P01', queue: 'deliver-webhook', detail }));
    expect(lines).toMatchObject([
      { msg: 'pg-boss reported an error', reason: message, code: '57P01', queue: 'deliver-webhook' },
    ]);
    expect(JSON.stringify(lines)).not.toContain('ada@example.com');
  });

  it('is logged with what there is, whatever it is', () => {
    const lines = logged({ code: 'ECONNREFUSED', queue: 7 }, 'lost', undefined);
    expect(lines.map(({ reason, code, queue }) => [reason, code, queue])).toEqual([
      [undefined, 'ECONNREFUSED', undefined],
      [undefined, undefined, undefined],
      [undefined, undefined, undefined],
    ]);
  });
});
