import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/env.ts';
import { addressOf, type Home, listHomes, noteHome, readDatabaseIdentity } from '../db/installation-home.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** Whether a worker may send and charge, and if not, why: it is set so, or the database is taken for a restored copy. */
export type SendingDecision = 'send' | 'off' | 'moved';

/**
 * A copy of the database must not send to real merchants nor charge their customers, so a database is quiet at a place from which it never sent before, until
 * somebody says that this is where it runs now.
 * @param homes where workers have sent from; empty for a database that never did
 */
export function decideSending(setting: Config['SENDING'], here: Home, homes: readonly Home[]): SendingDecision {
  if (setting !== 'auto') return setting === 'on' ? 'send' : 'off';
  const isKnown = homes.some(
    ({ databaseIdentity, address }) => databaseIdentity === here.databaseIdentity && address === here.address,
  );
  return homes.length === 0 || isKnown ? 'send' : 'moved';
}

export interface SendingOptions {
  readonly config: Pick<Config, 'SENDING' | 'DATABASE_URL' | 'DATABASE_DIRECT_URL' | 'DATA_DIR'>;
  readonly pool: Pool;
  readonly logger: Logger;
  readonly lookAgainMs?: number;
}

/** How often a quiet worker looks whether another was started with SENDING=on. */
const LOOK_AGAIN_MS = 60_000;

/** Holds back what leaves the installation while nobody has said that this copy of the database is the one that runs. */
export class Sending {
  readonly #options: SendingOptions;
  readonly #closing = new AbortController();
  #decision: SendingDecision = 'off';
  #waiting: Promise<void> = Promise.resolve();

  constructor(options: SendingOptions) {
    this.#options = options;
  }

  /** Calls `start` once this worker may send: now, or when it is found to be allowed. What is held back stays in the database. */
  async begin(start: () => Promise<void>): Promise<void> {
    if ((await this.#look()) === 'send') return start();
    if (this.#decision === 'moved') this.#waiting = this.#wait(start);
  }

  /** Adds to the metrics whether this worker sends nothing. */
  watch(metrics: Metrics): void {
    metrics.watch(
      'chokin_sending_held',
      'Whether this worker sends nothing, by SENDING=off or since the database is taken for a restored copy: 1, or 0.',
      async () => (this.#decision === 'send' ? 0 : 1),
    );
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#waiting;
  }

  async #wait(start: () => Promise<void>): Promise<void> {
    const { signal } = this.#closing;
    const { lookAgainMs = LOOK_AGAIN_MS } = this.#options;
    while (this.#decision !== 'send') {
      await delay(lookAgainMs, null, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      await this.#look().catch((error: unknown) =>
        this.#options.logger.debug({ err: error }, 'sending was not looked at'),
      );
    }
    await start();
  }

  async #look(): Promise<SendingDecision> {
    const { config, pool, logger } = this.#options;
    const db = autocommit(pool);
    const here = { databaseIdentity: await readDatabaseIdentity(db), address: placeOf(config) };
    const homes = await listHomes(db);
    const before = this.#decision;
    this.#decision = decideSending(config.SENDING, here, homes);
    if (this.#decision === 'send') await noteHome(db, here);
    if (this.#decision === 'send' && before === 'moved') logger.info('this worker sends from now on');
    if (this.#decision === 'moved' && before !== 'moved') logger.error({ here, homes }, MOVED);
    if (this.#decision === 'off')
      logger.warn('SENDING=off: this worker announces and delivers no webhook, and charges nobody');
    return this.#decision;
  }
}

/** The embedded database has another port at each start, and a pooler in the way may come and go. */
function placeOf({ DATABASE_URL, DATABASE_DIRECT_URL, DATA_DIR }: SendingOptions['config']): string {
  const url = DATABASE_DIRECT_URL ?? DATABASE_URL;
  return url === undefined ? `DATA_DIR ${resolve(DATA_DIR)}` : addressOf(url.reveal());
}

const MOVED =
  'the database is at a place from which it never sent: it is taken for a restored copy, so that no webhook is announced or delivered, and nobody is charged. If this is where it runs now, start a worker once with SENDING=on; set SENDING=off on a copy';
