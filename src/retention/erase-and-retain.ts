import { Failures } from '../db/failures.ts';
import { goOnErasing } from './anonymise.ts';
import { type RetainServices, retain } from './retain.ts';

/**
 * Goes on with erasing customers' data, and forgets what is older than the settings say, of every merchant. Neither waits for what is wrong with the other.
 * @throws {unknown} at the end, what failed first
 */
export async function eraseAndRetain(services: RetainServices): Promise<void> {
  const failures = new Failures(null);
  // Both have logged it, merchant by merchant.
  const work = (one: () => Promise<unknown>) => failures.outlive(one, () => {});
  await work(() => goOnErasing(services));
  await work(() => retain(services, { merchantId: null, isDryRun: false }));
  failures.rethrow();
}
