import type { LedgerSettings } from '../ledger/store.ts';
import type { Config } from './env.ts';

/** The part of the configuration that the ledger decides by. */
export function ledgerSettings(config: Config): LedgerSettings {
  return {
    currencies: new Set(config.WALLET_CURRENCIES),
    rule: {
      defaultThresholds: config.LOW_BALANCE_THRESHOLDS,
      marginPercent: config.LOW_BALANCE_MARGIN_PERCENT,
      minIntervalSeconds: config.LOW_BALANCE_MIN_INTERVAL_SECONDS,
      reminderSeconds: config.LOW_BALANCE_REMINDER_SECONDS,
    },
    lotRule: {
      noticeDays: config.EXPIRY_NOTICE_DAYS,
      noticeMinimums: config.EXPIRY_NOTICE_MINIMUM,
      paidExpiryMinDays: config.PAID_EXPIRY_MIN_DAYS ?? null,
    },
  };
}
