import type { Pool } from '../../src/db/pool.ts';

/** Lets a statement through once its promise resolves. */
export type Gate = (sql: string) => Promise<unknown>;

/**
 * A pool whose transactions wait at the gate before each statement, also BEGIN and COMMIT, so that a test decides the order of
 * the statements of several transactions. A statement that is let through may still wait for another's lock. Those of one connection
 * come to the gate one after another, since they leave it in their order, though nobody waits for the answers between them.
 */
export function gatedPool(pool: Pool, gate: Gate): Pool {
  return intercepting(pool, 'connect', async () => {
    const client = await pool.connect();
    let passed: Promise<unknown> = Promise.resolve();
    return intercepting(client, 'query', async (...args: readonly unknown[]) => {
      passed = passed.then(() => gate(textOf(args[0])));
      await passed;
      return Reflect.apply(client.query, client, args);
    });
  });
}

function textOf(statement: unknown): string {
  const text = typeof statement === 'object' && statement !== null && 'text' in statement ? statement.text : statement;
  return String(text).trim().split('\n')[0]?.slice(0, 60) ?? '';
}

/** The target with one method replaced. */
function intercepting<T extends object>(target: T, method: keyof T, replacement: unknown): T {
  return new Proxy(target, {
    get: (_, name) => {
      const value: unknown = name === method ? replacement : Reflect.get(target, name);
      return typeof value === 'function' && name !== method ? value.bind(target) : value;
    },
  });
}
