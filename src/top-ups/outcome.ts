import { hash } from 'node:crypto';
import type { ChargeRequest } from '../charging/charger.ts';
import { isInFlight, nextLook, type TopUpStep } from './attempt.ts';
import { afterDeclines, afterFailure, isHardDecline, MOST_DECLINES } from './declines.ts';
import { isLastAttempt } from './refill-attempts.ts';
import { type Block, NEW_STATE, type TopUpRule } from './rule.ts';
import { endedSession } from './session.ts';
import type { TopUp } from './tables.ts';

/** What the merchant is told of an attempt or a rule; the words and fields are those of the catalogue. */
export type TopUpNotice =
  | { readonly kind: 'requested'; readonly topUp: TopUp; readonly expiresAt: Date }
  | { readonly kind: 'succeeded'; readonly topUp: TopUp; readonly amountPaid: number; readonly isLate: boolean }
  | { readonly kind: 'failed'; readonly topUp: TopUp; readonly isHard: boolean; readonly nextAttemptAt: Date | null }
  | { readonly kind: 'paid_twice'; readonly topUp: TopUp; readonly paymentId: string }
  | { readonly kind: 'suspended'; readonly rule: TopUpRule }
  | { readonly kind: 'resumed'; readonly rule: TopUpRule; readonly cause: ResumeCause }
  | { readonly kind: 'blocked'; readonly rule: TopUpRule; readonly block: Block; readonly until: Date };

type ResumeCause = 'merchant' | 'payment_method' | 'paid';

export interface TopUpOutcome {
  readonly topUp: TopUp;
  /** Null if the wallet has no rule, or nothing about it changed. */
  readonly rule: TopUpRule | null;
  readonly notices: readonly TopUpNotice[];
}

interface Stepped {
  readonly topUp: TopUp;
  readonly step: TopUpStep;
  /** Null if there is none, or it was deleted: what became of the attempt is told all the same. */
  readonly rule: TopUpRule | null;
  /** How often the attempt's payment method was declined of late, without this time. */
  readonly declines: number;
  /** What was paid, where something was. */
  readonly amountPaid?: number;
  readonly now: Date;
}

/** What a step of an attempt makes of it and of its rule, and what is told. Pure. */
export function afterStep(stepped: Stepped): TopUpOutcome {
  const topUp = advance(stepped);
  const rule = stepped.rule === null || stepped.rule.endedAt !== null ? null : stepped.rule;
  const isAutomatic = topUp.origin !== 'manual';
  switch (topUp.state) {
    case 'succeeded': {
      const notices = [
        { kind: 'succeeded', topUp, amountPaid: stepped.amountPaid ?? topUp.amount, isLate: topUp.isLate },
      ] as const;
      if (rule === null) return { topUp, rule, notices };
      // Somebody paid by himself, so the payment method may well be good again.
      const isLifted = !isAutomatic && rule.suspendedReason !== null && rule.suspendedReason !== 'disputed';
      const paid = { ...rule, failuresInARow: 0, retryAt: null };
      if (!isLifted) return { topUp, rule: paid, notices };
      const resumed = resume(rule);
      return { topUp, rule: resumed, notices: [...notices, { kind: 'resumed', rule: resumed, cause: 'paid' }] };
    }
    case 'declined':
      return declined(topUp, isAutomatic ? rule : null, stepped);
    case 'failed':
    case 'expired': {
      if (rule === null || !isAutomatic) return failed(topUp, null, false);
      const retryAt = afterFailure(stepped.now);
      return failed(topUp, { ...rule, retryAt }, false);
    }
    default:
      return { topUp, rule: null, notices: [] };
  }
}

function advance({ topUp, step, now }: Stepped): TopUp {
  const isOpen = isInFlight(step.state);
  return {
    ...topUp,
    state: step.state,
    paymentId: step.paymentId ?? topUp.paymentId,
    reason: step.reason ?? null,
    declineCode: step.declineCode ?? null,
    isLate: step.state === 'succeeded' && !isInFlight(topUp.state),
    // The request names the customer at the provider; it is needed no more.
    request: isOpen ? topUp.request : null,
    session: isOpen ? topUp.session : endedSession(topUp.session),
    leasedUntil: null,
    lookAt: nextLook(step.state, topUp.createdAt, now),
    settledAt: isOpen ? null : now,
  };
}

function failed(topUp: TopUp, rule: TopUpRule | null, isHard: boolean): TopUpOutcome {
  const nextAttemptAt = isLastAttempt(topUp) ? null : (rule?.retryAt ?? null);
  return { topUp, rule, notices: [{ kind: 'failed', topUp, isHard, nextAttemptAt }] };
}

function declined(topUp: TopUp, rule: TopUpRule | null, { step, declines, now }: Stepped): TopUpOutcome {
  const isHard = step.isHard === true || isHardDecline(topUp.declineCode);
  if (rule === null) return failed(topUp, null, isHard);
  const failuresInARow = rule.failuresInARow + 1;
  const retryAt = isHard ? null : afterDeclines(failuresInARow, now);
  const isTooOften = declines + 1 >= MOST_DECLINES;
  const counted = { ...rule, failuresInARow, retryAt, declineCode: topUp.declineCode };
  if (retryAt !== null && !isTooOften) return failed(topUp, counted, isHard);
  const reason = isTooOften ? 'too_many_declines' : 'declined';
  const suspended = suspend(counted, { reason, method: topUp.method, now });
  const { notices } = failed(topUp, { ...suspended, retryAt: null }, isHard);
  return { topUp, rule: suspended, notices: [...notices, { kind: 'suspended', rule: suspended }] };
}

export function suspend(
  rule: TopUpRule,
  {
    reason,
    method,
    now,
  }: {
    readonly reason: NonNullable<TopUpRule['suspendedReason']>;
    readonly method: string | null;
    readonly now: Date;
  },
): TopUpRule {
  return { ...rule, suspendedReason: reason, suspendedAt: now, suspendedMethod: method, retryAt: null };
}

/** The rule as if nothing had been declined. */
export function resume(rule: TopUpRule): TopUpRule {
  return { ...rule, ...NEW_STATE, blocks: rule.blocks };
}

/** What tells a request again that is not kept any more. */
export function requestHash(request: ChargeRequest): string {
  const { amount, currency, customerId, methodId, metadata } = request;
  return hash('sha256', JSON.stringify([amount, currency, customerId, methodId, Object.entries(metadata).sort()]));
}
