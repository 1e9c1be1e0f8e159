import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { onCitus } from './backend.ts';
import { queryArrays, queryRows, type RowArrays, TransactionOverError } from './driver-query.ts';
import { gather } from './gather.ts';
import { noteAnswer, noteWriteKept, noteWriteRefused } from './pool-health.ts';
import { beginningOn, passesPooler } from './pooler.ts';
import { type SqlText, writes } from './sql-text.ts';
import { isRaceLost, isReadOnly, isUnanswered, isWriteRefused, OutcomeUnknownError } from './sqlstate.ts';

/** Anything that runs one statement: a pool, where each statement is its own transaction, or a {@link Tx}. */
export interface Queryable {
  query<Row extends pg.QueryResultRow>(statement: SqlText, values?: readonly unknown[]): Promise<pg.QueryResult<Row>>;
  /** The same, with each row as an array of values in the order of its columns, which is quicker to make and to read. */
  queryArrays(statement: SqlText, values: readonly unknown[]): Promise<RowArrays>;
}

/**
 * An open transaction. A function that takes a `Tx` is atomic with its caller; one that takes a pool is not.
 *
 * Statements leave at once and in order, and are answered in order. One that fails makes all behind it fail, those that are under way
 * included, so whoever sends several without waiting hears of the first failure first.
 */
export class Tx implements Queryable {
  readonly #client: pg.ClientBase;
  #begun: Promise<unknown> | null;
  #unanswered: Promise<unknown>[] = [];
  #savepoints = 0;
  #hasWritten = false;
  #isOver = false;
  /** Something is known to have failed that nobody waited for, maybe before it was sent: that fails nothing at the server. */
  hasFailed = false;

  /** @param begun the answer to BEGIN, if it is not there yet */
  constructor(client: pg.ClientBase, begun: Promise<unknown> | null = null) {
    this.#client = client;
    this.#begun = begun;
    begun?.then(
      () => {
        this.#begun = null;
      },
      // Whoever waits for a statement hears of it, and whoever commits.
      () => {},
    );
  }

  query<Row extends pg.QueryResultRow>(
    statement: SqlText,
    values: readonly unknown[] = [],
  ): Promise<pg.QueryResult<Row>> {
    return this.#send(writes(statement), () => queryRows(this.#client, statement, values));
  }

  queryArrays(statement: SqlText, values: readonly unknown[]): Promise<RowArrays> {
    return this.#send(writes(statement), () => queryArrays(this.#client, statement, values));
  }

  /**
   * What reads or locks leaves together with BEGIN; what writes does once BEGIN is answered, since without a transaction it would be kept
   * by itself. Nothing is heard of a statement unless BEGIN was carried out.
   */
  #send<Answer>(isWrite: boolean, send: () => Promise<Answer>): Promise<Answer> {
    if (this.#isOver) return Promise.reject(new TransactionOverError());
    this.#hasWritten ||= isWrite;
    gather(this.#client);
    const begun = this.#begun;
    if (begun === null) return send();
    if (isWrite) return begun.then(() => this.#send(true, send));
    return Promise.all([begun, send()]).then(([, answer]) => answer);
  }

  /** Lets nothing more be sent: behind COMMIT or ROLLBACK it would be kept by itself, or by whoever has the connection next. */
  end(): void {
    this.#isOver = true;
  }

  /** Whether a statement of it wrote, or tried to. */
  get hasWritten(): boolean {
    return this.#hasWritten;
  }

  /**
   * Lets the transaction go on without the answer to a statement: COMMIT may leave right behind it. So the statement itself must fail if
   * it has not done all that it should. If it does, the transaction throws what it threw, and nothing is kept.
   */
  withoutWaiting(answer: Promise<unknown>): void {
    answer.catch(() => {
      this.hasFailed = true;
    });
    this.#unanswered.push(answer);
  }

  /** What failed first of that which nobody waited for, once all of it is answered; undefined if nothing did. */
  async failure(): Promise<PromiseRejectedResult | undefined> {
    return (await Promise.allSettled(this.#unanswered)).find((one) => one.status === 'rejected');
  }

  /** @throws {unknown} what the first of the statements threw that nobody waited for */
  async #settle(): Promise<void> {
    const unanswered = this.#unanswered;
    this.#unanswered = [];
    await Promise.all(unanswered);
  }

  /** Until the end of the transaction, a lock that is not free in this time makes its statement fail. */
  async setLockTimeout(milliseconds: number): Promise<void> {
    await this.#set(`${toAllNodes()}set local lock_timeout = ${milliseconds}`);
  }

  /** Until the end of the transaction, no statement is given up for taking long; locks may be waited for up to a minute. */
  async takeTime(): Promise<void> {
    await this.#set(`${toAllNodes()}set local statement_timeout = 0; set local lock_timeout = '60s'`);
  }

  /** Once BEGIN is answered: outside of a transaction it would say nothing and do nothing. */
  async #set(text: string): Promise<void> {
    await this.#begun;
    if (this.#isOver) throw new TransactionOverError();
    await this.#client.query(text);
  }

  /** Runs `work` so that its failure undoes `work` alone; the error is rethrown and the transaction goes on. */
  async savepoint<T>(work: () => Promise<T>): Promise<T> {
    this.#savepoints += 1;
    const name = `s${this.#savepoints}`;
    await this.#settle();
    await this.#set(`savepoint ${name}`);
    try {
      const result = await work();
      await this.#settle();
      await this.#set(`release savepoint ${name}`);
      return result;
    } catch (error) {
      const first = await this.#settle().then(
        () => error,
        (earlier: unknown) => earlier,
      );
      if (!isUnanswered(first) && !this.#isOver) await this.#client.query(`rollback to savepoint ${name}`);
      throw first;
    }
  }
}

/** What a transaction sets for itself reaches the nodes of Citus only so; what a session sets reaches none (roles.ts has what they go by). */
const toAllNodes = () => (onCitus() ? "set local citus.propagate_set_commands = 'local'; " : '');

/** The pool as a {@link Queryable}, for reads and single statements that need no transaction of their own. */
export function autocommit(pool: pg.Pool): Queryable {
  return throughEach((work) => alone(pool, work));
}

/**
 * The same, in which each statement ends after the time that `leftMs` says at its start, or never begins if that throws. Only for a pool all of whose statements are run so:
 * a connection keeps the time until the next statement.
 */
export function timedAutocommit(pool: pg.Pool, leftMs: () => number): Queryable {
  return throughEach(async (work) => alone(pool, work, Math.ceil(leftMs())));
}

/**
 * One statement on a connection of the pool. Each connection is asked for itself what it passes: after a failover, or beside a pooler
 * that was put in the way, those of one pool differ. Through one, what the statement works under is set in a transaction of its own.
 */
async function alone<T>(pool: pg.Pool, work: (db: Queryable) => Promise<T>, timeoutMs?: number): Promise<T> {
  const client = await pool.connect();
  if (passesPooler(client)) return transactionOn({ client, pool, timeoutMs }, work);
  let broken = false;
  try {
    if (timeoutMs !== undefined) await client.query(`set statement_timeout = ${timeoutMs}`);
    return await work(new Tx(client));
  } catch (error) {
    broken = !(error instanceof pg.DatabaseError) || isReadOnly(error);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** Runs each statement by itself through `each`, which says when and by what connection. */
export function throughEach(each: <T>(work: (db: Queryable) => Promise<T>) => Promise<T>): Queryable {
  return {
    query: (statement, values) => each((db) => db.query(statement, values)),
    queryArrays: (statement, values) => each((db) => db.queryArrays(statement, values)),
  };
}

export interface TransactionOptions {
  /** Told how long a successful COMMIT took; for metrics. */
  readonly onCommit?: (seconds: number) => void;
  /**
   * Its statements are planned once a connection, and never for the values that they are given. Postgres would go on to plan what takes arrays anew each
   * time, since for a short array that promises a cheaper plan than one made for ten rows (which is the same). Only where each row is found by its key.
   */
  readonly keepsPlans?: boolean;
}

/** A transaction that loses this many races in a row has another problem, so its error is thrown. */
const MAX_ATTEMPTS = 5;

/**
 * Runs `work` in one READ COMMITTED transaction and returns its result once it is durable. The only BEGIN and COMMIT of
 * the program. A transaction that lost a race (40001, 40P01) runs again from the start, so `work` must have no effect
 * but through its `Tx`.
 * @throws {unknown} whatever `work` throws, after a rollback
 * @throws {Error} if the server answered COMMIT with a rollback, as it does after a statement's error was swallowed
 * @throws {OutcomeUnknownError} if the connection is lost during COMMIT, so every caller must be able to repeat its work
 */
export async function transaction<T>(
  pool: pg.Pool,
  work: (tx: Tx) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transactionOn({ client: await pool.connect(), pool, ...options }, work);
    } catch (error) {
      if (!isRaceLost(error) || attempt >= MAX_ATTEMPTS) throw error;
      await delay(Math.random() * 10 * 2 ** attempt);
    }
  }
}

/**
 * Sends COMMIT behind whatever is under way. An answer of the server to it, good or bad, is definite; anything else leaves open whether it
 * committed, also where the connection was lost at a statement before: the server may have gone on to COMMIT.
 * @throws {unknown} what the first statement threw that nobody waited for, if the server then rolled back
 */
async function commit(client: pg.PoolClient, tx: Tx): Promise<number> {
  tx.end();
  gather(client);
  const answer = client.query('commit');
  // It is waited for below, when the statements before it are settled.
  answer.catch(() => {});
  const failed = await tx.failure();
  const startedMs = performance.now();
  const { command } = await answer.catch((error: unknown) => {
    throw error instanceof pg.DatabaseError ? error : new OutcomeUnknownError(error);
  });
  // COMMIT of a failed transaction succeeds, with the tag ROLLBACK and nothing kept.
  if (failed !== undefined) {
    throw command === 'COMMIT' ? new OutcomeUnknownError(failed.reason) : failed.reason;
  }
  if (command !== 'COMMIT') throw new Error(`the transaction was rolled back at commit (the server said ${command})`);
  return (performance.now() - startedMs) / 1000;
}

interface Attempt extends TransactionOptions {
  /** A connection of the pool, which goes back to it. */
  readonly client: pg.PoolClient;
  readonly pool: pg.Pool;
  /** The longest that a statement of it may take, if not as long as the pool says. */
  readonly timeoutMs?: number | undefined;
}

/** What a transaction begins with, in one statement. On Citus plans are made by the nodes, for the merchant that is asked for. */
function beginningOf({ client, timeoutMs, keepsPlans = false }: Attempt): string {
  const limit = timeoutMs === undefined ? '' : `; set local statement_timeout = ${timeoutMs}`;
  const plans = keepsPlans && !onCitus() ? '; set local plan_cache_mode = force_generic_plan' : '';
  return `${beginningOn(client)}${limit}${plans}`;
}

async function transactionOn<T>(attempt: Attempt, work: (tx: Tx) => Promise<T>): Promise<T> {
  const { client, pool, onCommit } = attempt;
  let broken = false;
  gather(client);
  const begun = client.query(beginningOf(attempt)).then(() => noteAnswer(pool));
  const tx = new Tx(client, begun);
  try {
    const result = await work(tx);
    await begun;
    const failed = tx.hasFailed ? await tx.failure() : undefined;
    if (failed !== undefined) throw failed.reason;
    const seconds = await commit(client, tx);
    if (tx.hasWritten) noteWriteKept(pool);
    onCommit?.(seconds);
    return result;
  } catch (thrown) {
    const error = await firstFailure(tx, thrown);
    tx.end();
    if (isWriteRefused(error)) noteWriteRefused(pool);
    // A ROLLBACK on a connection that is silent would wait as long again; the server rolls back when it is closed.
    // Another session may be of a server that writes again.
    if (isUnanswered(error) || isReadOnly(error)) broken = true;
    else
      await client.query('rollback').catch(() => {
        broken = true;
      });
    throw error;
  } finally {
    client.release(broken);
  }
}

/** What is wrong with a transaction: a statement that nobody waited for, whose failure the others only met, or what was thrown. */
async function firstFailure(tx: Tx, thrown: unknown): Promise<unknown> {
  if (isUnanswered(thrown)) return thrown;
  const failed = await tx.failure();
  return failed === undefined ? thrown : failed.reason;
}
