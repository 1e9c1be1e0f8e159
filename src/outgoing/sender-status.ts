import { setTimeout as delay } from 'node:timers/promises';
import { readInstallationId } from '../db/installation.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import type { Logger } from '../telemetry/log.ts';
import { countElsewhere } from './endpoints-elsewhere.ts';
import type { SvixAccount } from './svix/account.ts';
import { checkSvix } from './svix/check.ts';

/** Which sender delivers webhooks, and what is wrong with it, as far as is known. */
export interface SenderStatus {
  readonly sender: 'svix' | 'embedded';
  /** `checking` until the first check has ended. */
  readonly state: 'checking' | 'ok' | 'failed';
  /** What is wrong and who can correct it. */
  readonly problem: string | null;
  /** Endpoints that only the other sender has, or has with newer settings; null while that is not known. */
  readonly endpointsElsewhere: number | null;
}

export interface SenderWatchOptions {
  readonly pool: Pool;
  readonly logger: Logger;
  /** Null for the embedded sender, which has nothing to be checked. */
  readonly account: SvixAccount | null;
}

/** How often the check is repeated until nothing is wrong. */
const AGAIN_MS = 60_000;
const CLOSE_WITHIN_MS = 1_000;

/**
 * Checks the sender in the background: the start does not wait for it, and the service runs whatever it finds. A problem is
 * logged when it is found and when it changes.
 */
export class SenderWatch {
  readonly #options: SenderWatchOptions;
  readonly #closing = new AbortController();
  #status: SenderStatus;
  #running: Promise<void> = Promise.resolve();

  constructor(options: SenderWatchOptions) {
    this.#options = options;
    const sender = options.account === null ? 'embedded' : 'svix';
    this.#status = { sender, state: 'checking', problem: null, endpointsElsewhere: null };
  }

  get status(): SenderStatus {
    return this.#status;
  }

  /** Begins to check, and repeats it until nothing is wrong. */
  start(): void {
    this.#running = this.#run();
  }

  /** Does not wait for a check under way, which may wait long for Svix; afterwards the check does not touch our database. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.race([this.#running, delay(CLOSE_WITHIN_MS, null, { ref: false })]);
  }

  /** One check, now. Never throws: if the database is away, /readyz says so itself. */
  async check(): Promise<SenderStatus> {
    const { pool, account } = this.#options;
    const { sender } = this.#status;
    try {
      const db = autocommit(pool);
      // If Svix was found well before, only the endpoints of the other sender are counted again.
      const isWell = account === null || this.#status.state === 'ok';
      const problem = isWell ? null : await checkSvix(account, await readInstallationId(db));
      if (this.#closing.signal.aborted) return this.#status;
      const elsewhere = await countElsewhere(db, sender);
      this.#tell(problem, elsewhere.endpoints, elsewhere.merchants);
      const state = problem === null ? 'ok' : 'failed';
      this.#status = { sender, state, problem, endpointsElsewhere: elsewhere.endpoints };
    } catch (error) {
      this.#options.logger.debug({ err: error }, 'the sender of webhooks could not be checked');
    }
    return this.#status;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const { state, endpointsElsewhere } = await this.check();
      if (state === 'ok' && endpointsElsewhere === 0) return;
      await delay(AGAIN_MS, null, { signal, ref: false }).catch(() => {});
    }
  }

  #tell(problem: string | null, endpoints: number, merchants: number): void {
    const { logger } = this.#options;
    const before = this.#status;
    if (problem !== before.problem) {
      if (problem === null) logger.info('Svix is well again');
      else logger.error({ problem }, 'webhooks cannot be delivered by Svix as it is set up');
    }
    if (endpoints > 0 && endpoints !== before.endpointsElsewhere) {
      const message = before.sender === 'svix' ? NOT_MOVED : NOT_MOVED_BACK;
      logger.error({ endpoints, merchants }, message);
    }
  }
}

const NOT_MOVED =
  'endpoints of the embedded sender hear nothing now that Svix delivers: run "npx chokin webhooks move --to svix", or unset SVIX_TOKEN';
const NOT_MOVED_BACK =
  'endpoints at Svix hear nothing now that the embedded sender delivers, or have newer settings there: run "npx chokin webhooks move --to embedded" with SVIX_TOKEN, or set it for good';
