import { LAST_MOMENT } from '../../clock.ts';
import { type WalletKey, walletKeyText } from '../entry.ts';
import { isOver, type Lot, type LotChange } from './lot.ts';
import { type LotRule, noticePassed } from './notices.ts';

/** Since when the credit of a wallet does not come to its end, by {@link walletKeyText}; absent where it does. */
export type Pauses = Map<string, Date>;

/** The time by which a lot goes on: in a paused wallet it stands still, since the pause began or the lot was opened in it. */
export function timeOfLot(pauses: Pauses, lot: WalletKey & Pick<Lot, 'createdAt'>, now: Date): Date {
  const since = pauses.get(walletKeyText(lot));
  if (since === undefined) return now;
  const stopped = since < lot.createdAt ? lot.createdAt : since;
  // Clocks of processes differ.
  return stopped < now ? stopped : now;
}

interface PauseOver {
  readonly now: Date;
  /** {@link timeOfLot} until now. */
  readonly lotTime: Date;
  readonly actor: string;
  readonly rule: LotRule;
}

/**
 * The lot with an end that is later by as long as it stood still, and what notes that; null if it has no end, or was over when the pause
 * began. It is told of again as far as its new end wants that.
 */
export function afterPause(
  lot: Lot,
  { now, lotTime, actor, rule }: PauseOver,
): { readonly lot: Lot; readonly change: LotChange } | null {
  const { expiresAt, priority } = lot;
  if (expiresAt === null || isOver(lot, lotTime) || now <= lotTime) return null;
  const end = new Date(Math.min(expiresAt.getTime() + now.getTime() - lotTime.getTime(), LAST_MOMENT));
  const { changedByPauses: before } = lot;
  const counted = before === undefined ? {} : { changedByPauses: before + 1 };
  const moved = { ...lot, expiresAt: end, changes: lot.changes + 1, ...counted };
  const { merchantId, customerId, currency, lotNo } = lot;
  return {
    lot: { ...moved, notices: noticePassed(moved, rule, now) },
    change: {
      ...{ merchantId, customerId, currency, lotNo, changeNo: moved.changes, actor, reason: null },
      ...{ oldExpiresAt: expiresAt, newExpiresAt: end, oldPriority: priority, newPriority: priority, createdAt: now },
    },
  };
}
