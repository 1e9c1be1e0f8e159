import type { Queryable } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import type { WalletKey } from '../ledger/entry.ts';
import { readWallets } from '../ledger/store.ts';
import { inFlightOf } from './attempt-store.ts';
import { wouldCharge } from './begin.ts';
import type { TopUpRule } from './rule.ts';
import { readRule } from './store.ts';
import type { TopUp } from './tables.ts';

/** A rule, and what has come of it so far. @throws {RefusalError} TOP_UP_RULE_NOT_FOUND */
export async function standingOf(
  db: Queryable,
  key: WalletKey,
  now: Date,
): Promise<{
  readonly rule: TopUpRule;
  readonly nextAttemptAt: Date | null;
  readonly spentThisMonth: number;
  readonly inFlight: TopUp | null;
}> {
  const rule = await readRule(db, key);
  if (rule === null || rule.endedAt !== null) return refuse({ code: 'TOP_UP_RULE_NOT_FOUND' });
  const wallets = await readWallets(db, key.merchantId, [key.customerId]);
  const wallet = wallets.find(({ currency }) => currency === key.currency);
  invariant(wallet !== undefined, 'a rule without its wallet');
  const { decision, history } = await wouldCharge(db, rule, { wallet, gatewayMinimum: 0, now });
  const nextAttemptAt = decision.kind === 'charge' ? now : decision.until;
  return { rule, nextAttemptAt, spentThisMonth: history.usedThisMonth, inFlight: await inFlightOf(db, key) };
}
