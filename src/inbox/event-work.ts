import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import type { Tx } from '../db/transaction.ts';
import type { LedgerSettings } from '../ledger/store.ts';
import type { Source } from '../merchants/source.ts';
import type { Sources } from '../merchants/sources.ts';
import type { Rate } from '../money.ts';
import type { Fact, Naming, ParkReason, Tie } from '../payments/fact.ts';
import type { PaymentKey } from '../payments/tables.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Observe } from '../telemetry/observe.ts';
import type { LockedEvent, Verdict } from './events.ts';
import type { UnreadNews } from './unread.ts';

export interface ApplyServices {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly sources: Sources;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How many times what was paid a top-up may grant. */
  readonly maxBonusRatio: Rate;
  /** How long an early refund waits for its payment. */
  readonly waitSeconds: number;
  /** How long a payment that names nobody waits for its order or subscription to name somebody; 0 for not at all. */
  readonly namingWaitSeconds: number;
  /** Called after a commit that left something to announce. */
  readonly onPosted: () => void;
  /** Called after a commit that has wallets looked at which may be filled up again. */
  readonly onTopUpDue?: () => void;
  readonly observe?: Observe;
}

/** An event being applied: what its body says, and what has been decided about it so far. */
export interface EventWork {
  readonly event: LockedEvent;
  /** Null if it is not configured any more; then there are no facts either. */
  readonly source: Source | null;
  facts: readonly Fact[];
  /** Whom it names of a group of payments. */
  readonly naming: Naming | null;
  /** Which payments it says are of a group. */
  readonly ties: readonly Tie[];
  /** The provider's customer of whom it says, and nothing else, that he may have something else to pay with. */
  readonly payer: string | null;
  /** The accounts at the provider that its body names. */
  readonly accounts: readonly string[];
  /** The payment that its body names, be it applied or not. */
  paymentId: string | null;
  /** The payments of an event that could not be read: only that they were heard of is noted. */
  readonly unread: readonly UnreadNews[];
  /** The span in which it is applied, if traces are collected. */
  readonly traceParent: string | null;
  verdict: Verdict;
}

/** A fact of an event, and the payment that it is of. */
export interface Step {
  readonly work: EventWork;
  readonly source: Source;
  readonly fact: Fact;
  readonly key: PaymentKey;
}

export function parkEvent(reason: ParkReason, detail: string | null): Verdict {
  return { state: 'parked', reason, detail, effect: null };
}

/** The source an event came in by, as the first half of a payment's key. */
export function sourceKey({ event }: EventWork): { merchantId: string; sourceId: string } {
  return { merchantId: event.merchantId, sourceId: event.sourceId };
}

/** The transaction that a batch of events is applied in. */
export interface ApplyTransaction {
  readonly services: ApplyServices;
  readonly tx: Tx;
  readonly now: Date;
}
