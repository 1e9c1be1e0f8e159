import type { Clock } from '../clock.ts';
import { type Config, loadConfig, warnOfUnknownVariables } from '../config/env.ts';
import { DatabaseClock } from '../db/database-clock.ts';
import { createLogger, type Logger } from '../telemetry/log.ts';
import { runCommand } from './command.ts';
import { endOnCrash, onShutdown } from './shutdown.ts';

export interface ServiceProcess {
  readonly help: string;
  /** Its name in the log. */
  readonly name: string;
  start(options: {
    readonly config: Config;
    readonly databaseUrl: string;
    readonly logger: Logger;
    readonly clock: Clock;
  }): Promise<{ drain?(): Promise<void>; close(): Promise<void> }>;
}

/** Runs a process of the service on the database of DATABASE_URL until it is asked to stop. */
export function runService({ help, name, start }: ServiceProcess): void {
  runCommand({ help, run });

  async function run(): Promise<void> {
    const config = loadConfig();
    if (config.DATABASE_URL === undefined)
      throw new Error('DATABASE_URL: wants the database to work on (npm start brings its own)');
    const logger = createLogger(config.LOG_LEVEL, name);
    endOnCrash(logger);
    warnOfUnknownVariables(logger);
    const starting = start({ config, databaseUrl: config.DATABASE_URL.reveal(), logger, clock: new DatabaseClock() });
    // A process that is asked to stop during its start finishes the start and then stops.
    const stop = async (isDraining: boolean) => {
      const service = await starting;
      if (isDraining) await service.drain?.();
      await service.close();
    };
    onShutdown(stop, logger, config.DRAIN_SECONDS);
    await starting;
  }
}
