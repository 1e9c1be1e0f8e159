import type { Config } from '../config/env.ts';

/** For how many days things are kept; 0: for ever. Entries of the ledger are always kept. */
export interface RetentionRule {
  /** Bodies of events, from when they were applied. */
  readonly eventBodies: number;
  /** Events that were ignored. */
  readonly ignoredEvents: number;
  /** The embedded sender's messages with their deliveries and attempts, and recoveries that ended. */
  readonly messages: number;
  /** Runs of the audit and of reconciliation, and alerts of low balances that were told. */
  readonly history: number;
}

/** What is forgotten, each with the days that it follows. */
const DAYS_OF = {
  event_bodies: 'eventBodies',
  ignored_events: 'ignoredEvents',
  messages: 'messages',
  recoveries: 'messages',
  alerts: 'history',
  reconciliations: 'history',
  audit_runs: 'history',
} as const satisfies Record<string, keyof RetentionRule>;

export type Forgettable = keyof typeof DAYS_OF;

/** In the order in which they are worked through. */
export const FORGETTABLE = Object.keys(DAYS_OF).filter((what): what is Forgettable => what in DAYS_OF);

const DAY_MS = 86_400_000;

/** Things of this kind are forgotten if they are older than this; null if they are kept for ever. */
export function forgottenBefore(rule: RetentionRule, what: Forgettable, now: Date): Date | null {
  const days = rule[DAYS_OF[what]];
  return days === 0 ? null : new Date(now.getTime() - days * DAY_MS);
}

export function retentionRule(config: Config): RetentionRule {
  return {
    eventBodies: config.RETENTION_EVENT_BODY_DAYS,
    ignoredEvents: config.RETENTION_IGNORED_EVENT_DAYS,
    messages: config.RETENTION_MESSAGE_DAYS,
    history: config.RETENTION_HISTORY_DAYS,
  };
}
