import { locateDatabase } from '../config/data-dir.ts';
import { type Config, loadConfig } from '../config/env.ts';
import { DatabaseClock } from '../db/database-clock.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import type { AdminServices } from '../merchants/administration.ts';
import { getMerchant, type Merchant } from '../merchants/merchant-store.ts';
import { Runtime } from '../runtime.ts';
import { createLogger } from '../telemetry/log.ts';
import { giveUp } from './give-up.ts';

/** What a command works with. */
export class CliContext extends Runtime {
  private constructor(config: Config, databaseUrl: string) {
    // Silent unless LOG_LEVEL asks for details: a command says itself what went wrong. Writes to standard error.
    const level = config.LOG_LEVEL === 'debug' || config.LOG_LEVEL === 'trace' ? config.LOG_LEVEL : 'silent';
    const logger = createLogger(level, 'cli', process.stderr);
    super({ config, databaseUrl, logger, clock: new DatabaseClock(), name: 'chokin-cli', maxConnections: 4 });
  }

  /** @throws {Error} that says what to set, if neither the environment nor DATA_DIR names a database */
  static async open(): Promise<CliContext> {
    const { config, databaseUrl } = await locateDatabase(loadConfig());
    return new CliContext(config, databaseUrl);
  }

  get db(): Queryable {
    return autocommit(this.pool);
  }

  get admin(): AdminServices {
    const { pool, clock, box, sources, config } = this;
    const connect: AdminServices['connect'] = async (access) => {
      // Loaded only here: providers' SDKs would slow down every command.
      const { connectWith } = await import('../reconciliation/connect.ts');
      return connectWith(config)(access);
    };
    return { pool, clock, box, sources, connect };
  }

  /** The merchant of `--merchant`, or the one of the environment. @throws {GivenUpError} if there is none */
  async merchant(merchantId: string = this.config.MERCHANT_ID): Promise<Merchant> {
    const merchant = await getMerchant(this.db, merchantId);
    return merchant ?? giveUp(`There is no merchant ${merchantId}; "npx chokin merchants list" shows them.`);
  }
}
