import { describe, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase } from '../support/database.ts';

describe('migrate', () => {
  it('finds nothing to do on a migrated database, also when several run at once', async () => {
    const database = await createTestDatabase();
    const logger = createLogger('silent', 'test');
    const applied = await Promise.all(Array.from({ length: 4 }, () => migrate(database.ownerUrl, logger)));
    expect(applied).toEqual([[], [], [], []]);
    await database.drop();
  });
});
