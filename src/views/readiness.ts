import type { Unready } from '../db/readiness.ts';

/** What is wrong and who can mend it, for a person. */
export function sayUnready(problem: Unready): string {
  switch (problem.why) {
    case 'draining':
      return 'This process is about to stop: ask another one.';
    case 'database_unreachable':
      return 'The database does not answer: does it run, and does DATABASE_URL lead there?';
    case 'database_read_only':
      return 'The database only reads: it is a standby, or default_transaction_read_only is on. This process goes on by itself once it reaches a server that writes.';
    case 'schema_older':
      return `The database lacks migrations of this release (${problem.missing.join(', ')}): run npm run migrate as its owner.`;
    case 'schema_unreadable':
      return 'The table schema_migration is not there, or this user may not read it: run npm run migrate as the owner of the database.';
    case 'writes_refused':
      return 'The database could not keep what was written last, as when its disk is full: its log says why.';
    case 'no_connection':
      return 'Nobody was given a connection to the database for five seconds: all of DATABASE_POOL_SIZE are held, or the server has none left.';
  }
}

/** Keys that stored secrets are sealed with and that a process does not have. */
export function sayMissingKeys(keyIds: readonly string[]): string {
  return `ENCRYPTION_KEY lacks the key ${keyIds.join(', ')}, with which stored secrets are encrypted. Add it (keys are separated by commas), or replace those secrets by npx chokin.`;
}
