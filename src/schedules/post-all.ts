import { Failures } from '../db/failures.ts';
import { type DueServices, settleAllDue } from './due.ts';
import { DUE_ENTRIES } from './post-entries.ts';
import { DUE_GRANTS } from './post-grants.ts';

/** Posts the scheduled entries and grants that are due; neither kind waits for what is wrong with the other. @returns how many of each */
export async function postAllDue({
  onGranted,
  ...services
}: DueServices & { readonly onGranted: () => void }): Promise<{ readonly entries: number; readonly grants: number }> {
  const failures = new Failures(null);
  // Each merchant's failure was logged by itself.
  const settle = (work: () => Promise<number>) => failures.outlive(work, () => {});
  const entries = await settle(() => settleAllDue(services, DUE_ENTRIES));
  const grants = await settle(() => settleAllDue(services, DUE_GRANTS));
  if (grants !== 0) onGranted();
  failures.rethrow();
  return { entries: entries ?? 0, grants: grants ?? 0 };
}
