import { expect } from 'vitest';
import { workAnnounceBalanceChanges } from '../../jobs/announce-balance-changes.ts';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createPool } from '../../src/db/pool.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { applicationIdentity, identitiesFrom } from '../../src/outgoing/svix/applications.ts';
import { SvixPublisher } from '../../src/outgoing/svix/publisher.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { TestDatabase } from './database.ts';
import { MERCHANT } from './ledger.ts';
import { SVIX_TOKEN, type SvixServer } from './svix-server.ts';

/** The id of the installation, for tests without a database that has one. */
export const svixIdentityOf = async (merchantId: string) =>
  applicationIdentity(`ins_${'0'.repeat(32)}`, merchantId, 'Default merchant');

export interface LogLine {
  readonly level: number;
  readonly customerId?: string;
  readonly reason?: string;
}

export interface AnnouncerOptions {
  readonly lines?: LogLine[];
  readonly timeoutMs?: number;
}

/** What a worker announces with. */
export function newAnnouncer(
  { workerUrl: databaseUrl }: TestDatabase,
  svix: SvixServer,
  options: AnnouncerOptions = {},
) {
  const { lines = [], timeoutMs } = options;
  const logger = createLogger('warn', 'test', { write: (line: string) => void lines.push(JSON.parse(line)) });
  const pool = createPool({ databaseUrl, applicationName: 'announcer', maxConnections: 4, logger });
  const account = new SvixAccount({
    token: new Secret(SVIX_TOKEN),
    serverUrl: svix.url,
    clock: systemClock,
    identityOf: identitiesFrom(pool),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  return { pool, publisher: new SvixPublisher({ account, clock: systemClock, logger }), logger, maxSeconds: 40 };
}

/** The announcing part of a worker, on a queue of its own. */
export async function startAnnouncer(database: TestDatabase, svix: SvixServer, options: AnnouncerOptions) {
  const { pool, publisher, logger } = newAnnouncer(database, svix, options);
  const boss = createBoss({
    databaseUrl: database.workerUrl,
    applicationName: 'announcer-jobs',
    maxConnections: 4,
    works: true,
    logger,
  });
  await boss.start();
  const announcer = await workAnnounceBalanceChanges(boss, { pool, publisher, logger });
  return {
    stop: async () => {
      await announcer.close();
      await boss.stop({ graceful: true, timeout: 5_000 });
      await pool.end();
    },
  };
}

/** Expects that Svix told of each version of the customers' wallets once, by messages that it sent once each. */
export function expectEachOnce(
  svix: SvixServer,
  versions: readonly (readonly [customerId: string, version: number])[],
): void {
  const { messages = new Map(), attempts = [] } = svix.ofMerchant(MERCHANT) ?? {};
  for (const [customerId, version] of versions) {
    const told = [...messages.values()].filter(({ payload }) => JSON.stringify(payload).includes(customerId));
    const seqs = told.flatMap(({ payload }) => (payload.data.entries ?? []).map(({ seq }: { seq: number }) => seq));
    expect(seqs).toEqual(Array.from({ length: version }, (_, index) => index + 1));
    for (const { eventId } of told) {
      expect(attempts.filter((attempt) => attempt.eventId === eventId)).toHaveLength(1);
    }
  }
}
