import type { RuntimeRole } from '../../src/db/grants.ts';

/**
 * The users of the tests' cluster besides its owner. They share the owner's password, so that a URL of one becomes a URL
 * of another by its user alone, also where it leads through a proxy.
 */
export const USERS = {
  web: 'chokin_web_login',
  worker: 'chokin_worker_login',
  /** In both roles, as whoever uses the command line is. */
  operator: 'chokin_operator',
} as const;

export type TestUser = keyof typeof USERS;

export const ROLES_OF: Readonly<Record<TestUser, readonly RuntimeRole[]>> = {
  web: ['chokin_web'],
  worker: ['chokin_worker'],
  operator: ['chokin_web', 'chokin_worker'],
};

/** The same database as another user. */
export function urlAs(user: TestUser, databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.username = USERS[user];
  return url.href;
}

/** The users of the service's own processes. */
const USER_OF_SCRIPT: Readonly<Record<string, TestUser>> = { 'src/web.ts': 'web', 'jobs/worker.ts': 'worker' };

/** The URL with which a deployment would run the script: web and worker as themselves where the operator is named. */
export function urlOfScript(script: string, databaseUrl: string): string {
  const user = USER_OF_SCRIPT[script];
  const isOperator = URL.canParse(databaseUrl) && new URL(databaseUrl).username === USERS.operator;
  return user === undefined || !isOperator ? databaseUrl : urlAs(user, databaseUrl);
}
