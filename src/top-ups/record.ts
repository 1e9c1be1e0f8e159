import type { Tx } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import { setTopUpDue } from '../ledger/top-up-due.ts';
import { isInFlight, step, type TopUpNews } from './attempt.ts';
import { countDeclines, lockTopUps, saveTopUp } from './attempt-store.ts';
import { DECLINES_WITHIN_DAYS } from './declines.ts';
import { afterStep } from './outcome.ts';
import type { TopUpRule } from './rule.ts';
import { lockRule, saveRule } from './store.ts';
import type { TopUp } from './tables.ts';
import { tellOfTopUps } from './tell.ts';

/** An attempt and the rule of its wallet, both locked, in this order. */
export interface LockedTopUp {
  readonly rule: TopUpRule | null;
  readonly topUp: TopUp;
}

/** Locks an attempt for news of it; null if there is none. */
export async function lockTopUp(tx: Tx, key: WalletKey & Pick<TopUp, 'topUpId'>): Promise<LockedTopUp | null> {
  const rule = await lockRule(tx, key);
  const [topUp] = await lockTopUps(tx, key.merchantId, [key.topUpId]);
  return topUp === undefined ? null : { rule, topUp };
}

export interface Heard {
  readonly news: TopUpNews;
  readonly now: Date;
  readonly amountPaid?: number;
  /** By which source it was paid, and what that payment has in common with its renewals. */
  readonly sourceId?: string;
  readonly seriesId?: string | null;
}

/**
 * Writes down what news makes of a locked attempt and of its rule, leaves what is told, and says when the wallet is to be looked at again.
 * @returns both as they are then; null if the news changes nothing
 */
export async function recordNews(tx: Tx, { rule, topUp }: LockedTopUp, heard: Heard): Promise<LockedTopUp | null> {
  const { now } = heard;
  const next = step(topUp, heard.news);
  if (next === null) return null;
  const { sourceId = topUp.sourceId, seriesId = topUp.seriesId } = heard;
  const declines =
    next.state === 'declined' && topUp.method !== null
      ? await declinesOf(tx, { ...topUp, method: topUp.method, now })
      : 0;
  const outcome = afterStep({
    ...{ topUp: { ...topUp, sourceId, seriesId }, step: next, rule, declines, now },
    ...(heard.amountPaid === undefined ? {} : { amountPaid: heard.amountPaid }),
  });
  await saveTopUp(tx, outcome.topUp);
  if (outcome.rule !== null) await saveRule(tx, outcome.rule);
  await tellOfTopUps(tx, outcome.notices, now);
  const after = { rule: outcome.rule ?? rule, topUp: outcome.topUp };
  if (!isInFlight(after.topUp.state)) await lookAgain(tx, after.rule, now);
  return after;
}

/** How often the payment method was declined within the time that counts. */
export function declinesOf(
  tx: Tx,
  { merchantId, method, now }: { readonly merchantId: string; readonly method: string; readonly now: Date },
): Promise<number> {
  const since = new Date(now.getTime() - DECLINES_WITHIN_DAYS * 86_400_000);
  return countDeclines(tx, { merchantId, method, since });
}

/** Has the wallet of an enabled rule looked at once its rule allows another attempt. */
export async function lookAgain(tx: Tx, rule: TopUpRule | null, now: Date): Promise<void> {
  if (rule === null || !rule.enabled) return;
  const { merchantId, customerId, currency, retryAt } = rule;
  await setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt: retryAt ?? now }]);
}
