import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { explain } from '../../src/commands/explain.ts';
import { UNREADY, type Unready } from '../../src/db/readiness.ts';
import { sayUnready } from '../../src/views/readiness.ts';

/** What keeps a process or a command from its database ends with a line that says what helps. */

const ofServer = (code: string, message = 'no') => Object.assign(new pg.DatabaseError(message, 2, 'error'), { code });
const ofSystem = (code: string) => Object.assign(new Error(''), { code });

describe('an error of the way to the database is told with its cure', () => {
  it.each([
    ['a refused connection', ofSystem('ECONNREFUSED'), 'DATABASE_URL'],
    ['a name that nobody knows', ofSystem('EAI_AGAIN'), 'DATABASE_URL'],
    ['no way there', ofSystem('EHOSTUNREACH'), 'DATABASE_URL'],
    ['a silent server', new Error('timeout exceeded when trying to connect'), 'DATABASE_URL'],
    ['a server that hangs up', new Error('Connection terminated unexpectedly'), 'DATABASE_URL'],
    ['a wrong password', ofServer('28P01'), 'password in DATABASE_URL'],
    ['a user who may not come in', ofServer('28000', 'no pg_hba.conf entry for host'), 'pg_hba.conf'],
    ['no such database', ofServer('3D000'), 'Create the database'],
    ['no tables', ofServer('42P01'), 'npm run migrate'],
    ['no rights', ofServer('42501'), 'npm run migrate as the owner'],
    ['no connection left', ofServer('53300'), 'DATABASE_POOL_SIZE'],
    ['a full disk', ofServer('53100'), 'make room'],
    ['a standby', ofServer('25006'), 'primary'],
    ['a lock', ofServer('55P03'), 'pg_stat_activity'],
    ['a server that starts', ofServer('57P03'), 'Try again'],
    ['a server that was stopped', ofServer('57P01'), 'Try again'],
    ['a statement that took too long', ofServer('57014'), 'Try again'],
  ])('%s', (_, error, cure) => {
    const [what = '', ...cures] = explain(error).split('\n');
    expect(what).not.toBe('');
    expect(cures.join('\n')).toContain(cure);
  });
});

const UNREADY_SAMPLES: Readonly<Record<Unready['why'], Unready>> = {
  draining: { why: 'draining' },
  database_unreachable: { why: 'database_unreachable' },
  database_read_only: { why: 'database_read_only' },
  schema_older: { why: 'schema_older', missing: ['0001'] },
  schema_unreadable: { why: 'schema_unreadable' },
  writes_refused: { why: 'writes_refused' },
  no_connection: { why: 'no_connection' },
};

it.each(UNREADY)('a process that is not ready for %s says what helps', (why) => {
  expect(sayUnready(UNREADY_SAMPLES[why])).toMatch(/: .*(DATABASE_|npm run|standby|log|another)/);
});
