import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { RUNTIME_ROLES, type RuntimeRole } from './grants.ts';
import { setDefaults, tryTo } from './roles.ts';

/** A database's URL for each process, as a user who is a member of its role and of nothing else. */
export type ServiceUrls = Readonly<Record<RuntimeRole, string>>;

/**
 * Makes the users under which web and worker run on a database that is ours alone: the embedded one. Their passwords are
 * new at every call and kept nowhere. The database must be migrated, since that makes the roles.
 */
export async function createServiceUsers(ownerUrl: string): Promise<ServiceUrls> {
  const [web, worker] = RUNTIME_ROLES;
  return {
    [web]: await createUser(ownerUrl, `${web}_login`, [web]),
    [worker]: await createUser(ownerUrl, `${worker}_login`, [worker]),
  };
}

/** Makes a user, or gives the one that is there this password, and returns the URL that logs in as it. */
export async function createUser(
  ownerUrl: string,
  name: string,
  roles: readonly RuntimeRole[],
  password: string = randomBytes(24).toString('hex'),
): Promise<string> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    const user = pg.escapeIdentifier(name);
    await tryTo(client, `create role ${user}`);
    await client.query(`alter role ${user} login password ${pg.escapeLiteral(password)}`);
    await client.query(`grant ${roles.join(', ')} to ${user}`);
    await setDefaults(client);
    const url = new URL(ownerUrl);
    url.username = name;
    url.password = password;
    return url.href;
  } finally {
    await client.end();
  }
}
