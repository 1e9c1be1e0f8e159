import type pg from 'pg';
import type { Pool } from '../../src/db/pool.ts';

/** What a coordinator that dies between two commits does not keep. Citus commits at the merchant's node first, so there it is the queue's. */
export type Lost = 'queue' | 'merchants';

const OF_QUEUE = /\bpgboss\./;
/** What reads the queue beside merchants' rows keeps nothing. */
const OF_BOTH = /\b(?:provider_event|webhook_delivery)\b/;

/**
 * A pool each of whose transactions is two, as on Citus: one of merchants' rows, and one of the queue's, each with a session and a commit of its own.
 */
export class TwoCommits {
  readonly pool: Pool;
  #lost: Lost | null = null;

  constructor(pool: Pool) {
    this.pool = new Proxy(pool, {
      get: (of, name) => {
        if (name === 'connect') return async () => this.#divided(of, await of.connect());
        const value: unknown = Reflect.get(of, name, of);
        return typeof value === 'function' ? value.bind(of) : value;
      },
    });
  }

  /** The next transaction that writes both ends between its commits. */
  cutNext(lost: Lost): void {
    this.#lost = lost;
  }

  /** Whether it has come to that. */
  get isCut(): boolean {
    return this.#lost === null;
  }

  #divided(pool: Pool, merchants: pg.PoolClient): pg.PoolClient {
    let queue: Promise<pg.PoolClient> | null = null;
    const opened = async () => {
      const client = await pool.connect();
      await client.query('begin');
      return client;
    };
    const query = async (...given: unknown[]) => {
      const text = textOf(given[0]);
      if (OF_QUEUE.test(text) && !OF_BOTH.test(text)) {
        queue ??= opened();
        return ask(await queue, given);
      }
      if ((text !== 'commit' && text !== 'rollback') || queue === null) return ask(merchants, given);
      const other = await queue;
      queue = null;
      return text === 'commit' ? this.#commit(merchants, other) : rollback(merchants, other);
    };
    return new Proxy(merchants, {
      get(of, name) {
        if (name === 'query') return query;
        const value: unknown = Reflect.get(of, name, of);
        return typeof value === 'function' ? value.bind(of) : value;
      },
    });
  }

  async #commit(merchants: pg.PoolClient, queue: pg.PoolClient): Promise<unknown> {
    const lost = this.#lost;
    this.#lost = null;
    if (lost === null) {
      const answer = await merchants.query('commit');
      await queue.query('commit');
      queue.release();
      return answer;
    }
    await (lost === 'queue' ? merchants : queue).query('commit');
    await (lost === 'queue' ? queue : merchants).query('rollback');
    queue.release();
    throw new Error('Connection terminated unexpectedly');
  }
}

async function rollback(merchants: pg.PoolClient, queue: pg.PoolClient): Promise<unknown> {
  await queue.query('rollback');
  queue.release();
  return merchants.query('rollback');
}

function textOf(asked: unknown): string {
  if (typeof asked === 'string') return asked;
  return typeof asked === 'object' && asked !== null && 'text' in asked ? String(asked.text) : '';
}

const ask = (client: pg.PoolClient, given: unknown[]): Promise<unknown> => Reflect.apply(client.query, client, given);
