import { bigint, numeric, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { CONTRA_ACCOUNTS, EVENT_TYPES } from '../ledger/entry.ts';
import type { LowBalanceRule } from '../ledger/low-balance/rule.ts';
import { type AuditProgress, checkChains } from './chain.ts';
import { type Check, type Disagreement, type HistoryCheck, runCheck, runCheckSince } from './check.ts';
import { CHECKOUT_CHECKS, checkOverdueCheckouts } from './checkout-checks.ts';
import { CHECKOUT_HISTORY, CHECKOUT_PAYMENT_CHECKS } from './checkout-payment-checks.ts';
import { checkGuards } from './guards.ts';
import { checkOverdueHolds, HOLD_CHECKS, HOLD_HISTORY } from './hold-checks.ts';
import { ENTRY_SCANS, LEDGER_CHECKS } from './ledger-checks.ts';
import { checkOverdueLots, LOT_CHECKS } from './lot-checks.ts';
import { LOT_HISTORY } from './lot-history.ts';
import { checkLotsReplayed, LOTS_REPLAYED } from './lots-replayed.ts';
import { MARK_CHECKS, mayMark } from './marks.ts';
import { checkArmedAlerts, OUTBOX_CHECKS, OUTBOX_HISTORY } from './outbox-checks.ts';
import { PAYMENT_CHECKS } from './payment-checks.ts';
import { PAYMENT_HISTORY } from './payment-history.ts';
import { ProvedRules, type WhatToRead } from './proved-rules.ts';
import { checkOverdueSchedules, SCHEDULE_HISTORY } from './schedule-checks.ts';
import { checkSettledAgain, SETTLED_AGAIN, type SettledAgain } from './settled-again.ts';
import { STATUS_CHECKS } from './status-checks.ts';
import { TOP_UP_CHECKS } from './top-up-checks.ts';

export interface AuditReport {
  readonly balances: readonly {
    merchantId: string;
    currency: string;
    wallets: number;
    entries: number;
    balance: number;
  }[];
  /** What each contra account gave to wallets (credit) and took back (debit); null if not every entry was read. */
  readonly trialBalance:
    | readonly {
        merchantId: string;
        currency: string;
        account: string;
        credit: number;
        debit: number;
      }[]
    | null;
  /** How many entries were followed, of how many wallets. */
  readonly read: AuditProgress;
  readonly disagreements: readonly Disagreement[];
  /** Payments whose events have lost their bodies to retention or erasure: what is kept of those was judged, and no body proves it. */
  readonly judgedByFacts: number;
}

/** What the audit has to know besides the books. */
export interface AuditSettings {
  /** The thresholds of wallets that have none of their own; null where they are not known. */
  readonly rule: Pick<LowBalanceRule, 'defaultThresholds'> | null;
  /**
   * What was proved after this time, from the first entry of a wallet on, is not read again, and what is proved now is noted; both need
   * `now`. Left out, or where nothing may be written, everything is read and nothing noted.
   */
  readonly wholeSince?: Date;
  /** Told of what is looked at, and how far that is. */
  readonly onProgress?: (progress: { readonly rule: string } & Partial<AuditProgress>) => void;
  /** The service's time; left out, nothing is said of what should have ended long ago. */
  readonly now?: Date;
}

/**
 * Computes again everything that the ledger has stored, and reports every disagreement. It may run while the service works,
 * since each check sees the books at one moment. It reads every entry, or with `wholeSince` those that are new, so large books
 * need a connection without a statement timeout.
 */
export async function audit(
  db: Queryable,
  { rule, now, wholeSince, onProgress }: AuditSettings = { rule: null },
): Promise<AuditReport> {
  const disagreements: Disagreement[] = [];
  const marks = wholeSince !== undefined && now !== undefined && (await mayMark(db)) ? { wholeSince, now } : null;
  const proved = await ProvedRules.read(db, marks);
  const [{ rule: ofSums }] = ENTRY_SCANS;
  const readsAll = proved.readingOf(ofSums).kind === 'all';
  const say = (one: string) => onProgress?.({ rule: one });
  for (const check of HISTORY) {
    say(check.rule);
    disagreements.push(...(await proved.prove([check.rule], (reading) => runHistoryCheck(db, check, reading))));
  }
  for (const check of [marks === null ? [] : MARK_CHECKS, ...CHECKS].flat()) {
    say(check.rule);
    disagreements.push(...(await runCheck(db, check)));
  }
  const settledAgain = await settleAgain(db, proved);
  disagreements.push(...settledAgain.disagreements);
  disagreements.push(...(await checkArmedAlerts(db, rule)), ...(await checkOverdueHolds(db, now ?? null)));
  disagreements.push(...(await checkOverdueLots(db, now ?? null)), ...(await checkOverdueSchedules(db, now ?? null)));
  disagreements.push(...(await checkOverdueCheckouts(db, now ?? null)));
  say(LOTS_REPLAYED[0]);
  disagreements.push(...(await proved.prove(LOTS_REPLAYED, (reading) => checkLotsReplayed(db, sinceOf(reading)))));
  const { found, read } = await checkChains(db, { marking: marks, onProgress });
  const isKnown = ({ rule, subject }: Disagreement) =>
    disagreements.some((one) => one.rule === rule && `${one.subject} `.startsWith(`${subject} `));
  disagreements.push(...found.filter((one) => !isKnown(one)), ...(await checkGuards(db)));
  const contraAccounts = EVENT_TYPES.map((eventType) => ({ eventType, account: CONTRA_ACCOUNTS[eventType] }));
  return {
    balances: await BALANCES.all(db),
    trialBalance: readsAll ? await TRIAL_BALANCE.all(db, { contraAccounts }) : null,
    read,
    disagreements,
    judgedByFacts: settledAgain.judgedByFacts,
  };
}

/** Rules about what becomes ever more. */
export const HISTORY: readonly HistoryCheck[] = [
  ...[...ENTRY_SCANS, ...PAYMENT_HISTORY, ...OUTBOX_HISTORY, ...HOLD_HISTORY, ...LOT_HISTORY],
  ...[...SCHEDULE_HISTORY, ...CHECKOUT_HISTORY],
];

/** Rules about what there is now, or that few rows are about. */
const CHECKS: readonly (readonly Check[])[] = [
  ...[LEDGER_CHECKS, PAYMENT_CHECKS, OUTBOX_CHECKS, HOLD_CHECKS, LOT_CHECKS, STATUS_CHECKS, TOP_UP_CHECKS],
  ...[CHECKOUT_CHECKS, CHECKOUT_PAYMENT_CHECKS],
];

/** Null for all that there is. */
const sinceOf = (reading: WhatToRead) => (reading.kind === 'all' ? null : reading.since);

function runHistoryCheck(db: Queryable, check: HistoryCheck, reading: WhatToRead) {
  return reading.kind === 'all' ? runCheck(db, check) : runCheckSince(db, check, reading.since);
}

/** Rule 5c, which also says how many payments no body proves. */
async function settleAgain(db: Queryable, proved: ProvedRules): Promise<SettledAgain> {
  let judgedByFacts = 0;
  const disagreements = await proved.prove([SETTLED_AGAIN], async (reading) => {
    const settled = await checkSettledAgain(db, sinceOf(reading));
    judgedByFacts = settled.judgedByFacts;
    return settled.disagreements;
  });
  return { disagreements, judgedByFacts };
}

const BALANCES = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: {},
  row: { merchantId: text, currency: text, wallets: bigint, entries: numeric, balance: numeric },
  text: () => `
    select merchant_id, currency, count(*) as wallets, sum(version) as entries, sum(balance) as balance
    from wallet group by 1, 2 order by 1, 2`,
});

const TRIAL_BALANCE = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: { contraAccounts: rowsOf({ eventType: text, account: text }) },
  row: { merchantId: text, currency: text, account: text, credit: numeric, debit: numeric },
  text: ({ contraAccounts }) => `
    select merchant_id, currency, c.account,
      coalesce(sum(amount) filter (where is_credit), 0) as credit, coalesce(sum(amount) filter (where not is_credit), 0) as debit
    from entry join ${contraAccounts('c')} using (event_type)
    group by 1, 2, 3 order by 1, 2, 3`,
});
