import type { Pool } from '../../src/db/pool.ts';

/** A pool whose statements fail from the n-th on, as those of a process that is killed. What is under way is rolled back by the server. */
export function dyingAfter(pool: Pool, statements: number): { readonly pool: Pool; readonly isDead: () => boolean } {
  let left = statements;
  const gone = () => {
    left -= 1;
    return left < 0;
  };
  const dying = <Target extends object>(target: Target): Target =>
    new Proxy(target, {
      get(of, name) {
        const value: unknown = Reflect.get(of, name, of);
        if (typeof value !== 'function') return value;
        const call = (given: unknown[]) => Reflect.apply(value, of, given);
        if (name === 'query') {
          return (...given: unknown[]) => (gone() ? Promise.reject(new Error('killed')) : call(given));
        }
        if (name === 'connect') return async () => dying(await call([]));
        return name === 'release' ? () => call([left < 0]) : (...given: unknown[]) => call(given);
      },
    });
  return { pool: dying(pool), isDead: () => left < 0 };
}
