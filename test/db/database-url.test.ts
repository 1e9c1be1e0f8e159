import { expect, it } from 'vitest';
import { connectionString } from '../../src/db/database-url.ts';

/** What of a URL reaches the driver, which would let all of it win over the code. */

it.each([
  ['one without parameters', 'postgres://u:p%40ss@host:5432/db', 'postgres://u:p%40ss@host:5432/db'],
  [
    'bounds, names and forms',
    'postgres://u@h/db?statement_timeout=0&lock_timeout=0&query_timeout=0&application_name=mine&client_encoding=latin1&binary=true',
    'postgres://u@h/db',
  ],
  [
    'what is for other drivers',
    'postgres://u@h/db?pgbouncer=true&connection_limit=1&channel_binding=require',
    'postgres://u@h/db',
  ],
  [
    'options of ours, in every way of writing them',
    'postgres://u@h/db?options=-c%20Enable_SeqScan=on%20-cstatement_timeout=0%20--lock-timeout=0',
    'postgres://u@h/db',
  ],
  [
    'options of ours and others',
    'postgres://u@h/db?options=-c%20work_mem=7MB+-c+enable_seqscan=on+--jit=off%20-c%20search_path=a\\%20b',
    'postgres://u@h/db?options=-c%20work_mem%3D7MB%20--jit%3Doff%20-c%20search_path%3Da%5C%20b',
  ],
  [
    'the name of a project, for a proxy',
    'postgres://u@h/db?options=endpoint%3Dep-cool-1',
    'postgres://u@h/db?options=endpoint%3Dep-cool-1',
  ],
  ['a socket', 'postgres:///db?host=/var/run/postgresql', 'postgres:///db?host=%2Fvar%2Frun%2Fpostgresql'],
  [
    'encryption that proves nothing',
    'postgres://u@h/db?sslmode=require&uselibpqcompat=true',
    'postgres://u@h/db?sslmode=require&uselibpqcompat=true',
  ],
  [
    'encryption',
    'postgres://u@h/db?sslmode=require&sslrootcert=/ca.pem',
    'postgres://u@h/db?sslmode=verify-full&sslrootcert=%2Fca.pem',
  ],
  ['what is no URL', 'host=h dbname=db', 'host=h dbname=db'],
])('keeps the way to the server of %s', (_, given, reached) => {
  expect(connectionString(given)).toBe(reached);
});
