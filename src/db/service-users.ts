import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { connectionString } from './database-url.ts';
import { RUNTIME_ROLES, type RuntimeRole } from './grants.ts';
import { setDefaults, tryTo } from './roles.ts';

/** A database's URL for each process, as a user who is a member of its role and of nothing else. */
export type ServiceUrls = Readonly<Record<RuntimeRole, string>>;

/**
 * Makes the users under which web and worker run on the embedded database, which nobody else uses. Their passwords are
 * new at every call and kept nowhere. The database must be migrated, since that makes the roles.
 */
export async function createServiceUsers(ownerUrl: string): Promise<ServiceUrls> {
  const [web, worker] = RUNTIME_ROLES;
  return {
    [web]: await createUser(ownerUrl, { name: `${web}_login`, roles: [web] }),
    [worker]: await createUser(ownerUrl, { name: `${worker}_login`, roles: [worker] }),
  };
}

/** A user of the database; a password is made if none is given. */
export interface ServiceUser {
  readonly name: string;
  readonly roles: readonly RuntimeRole[];
  readonly password?: string;
}

/** Makes a user, or changes the password of the one that is there, and returns the URL that logs in as it. */
export async function createUser(ownerUrl: string, user: ServiceUser): Promise<string> {
  const { name, roles, password = randomBytes(24).toString('hex') } = user;
  const client = new pg.Client({ connectionString: connectionString(ownerUrl) });
  await client.connect();
  try {
    const role = pg.escapeIdentifier(name);
    await tryTo(client, `create role ${role}`);
    await client.query(`alter role ${role} login password ${pg.escapeLiteral(password)}`);
    await client.query(`grant ${roles.join(', ')} to ${role}`);
    await setDefaults(client);
    const url = new URL(ownerUrl);
    url.username = name;
    url.password = password;
    return url.href;
  } finally {
    await client.end();
  }
}
