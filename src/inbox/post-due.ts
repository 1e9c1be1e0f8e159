import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { countPostings } from '../ledger/count-postings.ts';
import type { CaptureHold, ChangeHold, DisputedAmount } from '../ledger/holds/hold.ts';
import type { CaptureResult, ChangeResult } from '../ledger/holds/results.ts';
import type { PaymentCommand, PaymentResult } from '../ledger/post.ts';
import { noteTraces } from '../ledger/posting-traces.ts';
import { type LedgerMoment, postBatch } from '../ledger/store.ts';
import type { Decision } from '../payments/decision.ts';
import { withHoldNos } from '../payments/dispute-holds.ts';
import type { DuePosting } from '../payments/due.ts';
import type { Payment } from '../payments/payment.ts';
import { paymentAt, paymentKeyText } from '../payments/tables.ts';
import type { PostingCount } from '../telemetry/metrics.ts';
import { PostingRefused } from './refused-posting.ts';

/** What is to be held for the open disputes of a payment, after its entries gave so much back. */
interface HoldsOrdered {
  readonly disputes: readonly DisputedAmount[];
  readonly returned: number;
}

/** What becomes of the hold of a checkout. */
export type OwnedHold = CaptureHold | ChangeHold;
export type OwnedHoldResult = CaptureResult | ChangeResult;

interface HoldOrdered {
  readonly hold: OwnedHold;
}

/** What is due for a payment: an entry, what is to be held for its open disputes, or what becomes of its checkout's hold. */
export interface Due {
  readonly payment: Payment;
  readonly ordered: DuePosting | HoldsOrdered | HoldOrdered;
  readonly provider: string;
  /** The span of the event that causes it, if traces are collected. */
  readonly traceParent: string | null;
}

/** What a decision orders, in the order in which it is done. */
export function orderedBy({ payment, due, holds: disputes }: Decision): readonly (DuePosting | HoldsOrdered)[] {
  if (disputes.length === 0) return due;
  const given = due.flatMap(({ currency, isCredit, amountMinor }) =>
    currency === payment.currency ? [isCredit ? amountMinor : -amountMinor] : [],
  );
  return [
    ...due,
    {
      disputes,
      returned: Math.max(
        0,
        given.reduce((sum, one) => sum + one, 0),
      ),
    },
  ];
}

export interface PostedDue {
  /** The payments, which now know their holds. */
  readonly payments: Map<string, Payment>;
  readonly postingCounts: readonly PostingCount[];
  /** What became of the holds of checkouts. */
  readonly ofHolds: ReadonlyMap<OwnedHold, OwnedHoldResult>;
}

/**
 * Posts in one batch what is due for these payments. If the ledger refuses any of it, a {@link PostingRefused} is thrown.
 */
export async function postDue(
  tx: Tx,
  {
    due,
    payments,
    isTraced,
  }: Pick<PostedDue, 'payments'> & { readonly due: readonly Due[]; readonly isTraced: boolean },
  moment: LedgerMoment,
): Promise<PostedDue> {
  const commands = due.map(toCommand);
  const outcomes = await postBatch(tx, commands, moment);
  const ofHolds = new Map<OwnedHold, OwnedHoldResult>();
  for (const [index, outcome] of outcomes.entries()) {
    const command = commands[index];
    const isOfHold = command !== undefined && 'op' in command && command.op !== 'hold_disputes';
    // A hold that has ended meanwhile stays as it is.
    if (outcome.kind === 'refused' && !(isOfHold && command.op === 'change')) throw new PostingRefused(outcome.refusal);
    if (isOfHold && isOfOwnedHold(outcome)) ofHolds.set(command, outcome);
  }
  const traceParents = due.map(({ traceParent }) => traceParent);
  if (isTraced) await noteTraces(tx, outcomes, traceParents);
  return { payments: withHolds(payments, due, outcomes), postingCounts: countPostings(commands, outcomes), ofHolds };
}

function isOfOwnedHold(outcome: PaymentResult): outcome is OwnedHoldResult {
  return outcome.kind !== 'created' && outcome.kind !== 'disputes_held';
}

function toCommand({ payment, ordered, provider }: Due): PaymentCommand {
  if ('hold' in ordered) return ordered.hold;
  const { merchantId, customerId, paymentId } = payment;
  const currency = 'key' in ordered ? ordered.currency : payment.currency;
  invariant(customerId !== null && currency !== null, 'a posting is due for nobody or in no currency');
  const reason = `${provider} payment ${paymentId}`;
  if (!('key' in ordered)) {
    return { op: 'hold_disputes', merchantId, customerId, currency, paymentId, reason, ...ordered };
  }
  const {
    amountMinor,
    isCredit,
    eventType,
    referenceObjectId,
    key: idempotencyKey,
    restores,
    origins,
    terms,
  } = ordered;
  return {
    ...{ merchantId, customerId, currency, amountMinor, isCredit, eventType },
    ...{ reason, referenceObjectId, metadata: null, idempotencyKey },
    ...(restores === undefined ? {} : { restores }),
    ...(origins === undefined ? {} : { origins }),
    ...(terms === undefined ? {} : { terms }),
  };
}

/** Each dispute with the number of the hold that it has by now. */
function withHolds(
  payments: ReadonlyMap<string, Payment>,
  due: readonly Due[],
  outcomes: readonly PaymentResult[],
): Map<string, Payment> {
  const after = new Map(payments);
  for (const [index, { payment, ordered }] of due.entries()) {
    const outcome = outcomes[index];
    if (outcome?.kind !== 'disputes_held' || !('disputes' in ordered)) continue;
    after.set(paymentKeyText(payment), withHoldNos(paymentAt(after, payment), ordered.disputes, outcome.holdNos));
  }
  return after;
}
