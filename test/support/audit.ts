import { expect } from 'vitest';
import { runCheck, runCheckSince } from '../../src/audit/check.ts';
import { HISTORY } from '../../src/audit/checks.ts';
import type { Queryable } from '../../src/db/transaction.ts';

/** A rule that reads what is new says something of new rows exactly where it does that reads all of them. */
export async function expectSameOfNewRows(db: Queryable): Promise<void> {
  for (const check of HISTORY) {
    if (check.findSince === null) continue;
    const [all, fresh] = [await runCheck(db, check), await runCheckSince(db, check, new Date(0))];
    expect([check.rule, fresh.length > 0]).toEqual([check.rule, all.length > 0]);
  }
}
