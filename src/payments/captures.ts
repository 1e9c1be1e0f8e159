import type { Movement, Payment } from './payment.ts';

/** The amount that was authorised first, before any adjustment; null if that is not told. */
export function authorisedAtFirst({ movements }: Pick<Payment, 'movements'>): number | null {
  return movements.find(({ kind }) => kind === 'authorisation')?.amountMinor ?? null;
}

/** The whole amount that is authorised, by the newest report; null if that is not told. */
export function authorisedMinor({ movements }: Pick<Payment, 'movements'>): number | null {
  const first = authorisedAtFirst({ movements });
  if (first === null) return null;
  const adjustments = movements.filter(({ kind, state }) => kind === 'adjustment' && state === 'succeeded');
  if (adjustments.length === 0) return first;
  return adjustments.reduce((a, b) => (isLater(b, a) ? b : a)).amountMinor;
}

function isLater(a: Movement, b: Movement): boolean {
  const [left, right] = [timeOf(a), timeOf(b)];
  return left === right ? a.amountMinor > b.amountMinor : left > right;
}

function timeOf({ reports }: Movement): number {
  return Math.max(...reports.map(({ at }) => at ?? Number.NEGATIVE_INFINITY));
}

export function capturedMinor({ movements }: Pick<Payment, 'movements'>): number {
  const captured = movements.filter(({ kind, state }) => kind === 'capture' && state === 'succeeded');
  return captured.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
}

/**
 * State and amount of an authorised payment by its movements; null for a payment that is told in one piece.
 *
 * If the account captures by itself (`automatic`), the authorisation counts as the money and no capture is told. A capture
 * that is told shows that the account captures by hand, whatever the source's setting is; then the captures count as the
 * money. If an authorisation ends before anything was captured, nothing is paid; an end after a capture changes nothing.
 * Source: docs.adyen.com, "Capture" and "Delayed capture".
 */
export function paidByCaptures(payment: Payment): Pick<Payment, 'state' | 'amountPaid'> | null {
  const { movements } = payment;
  const captures = movements.filter(({ kind }) => kind === 'capture');
  const hasEnded = movements.some(({ kind, state }) => kind === 'end' && state === 'succeeded');
  const authorised = authorisedMinor(payment);
  if (authorised === null) {
    // Only the end has arrived so far, and it stays the end whatever else arrives.
    return hasEnded && payment.state !== 'succeeded' ? { state: 'failed', amountPaid: payment.amountPaid } : null;
  }
  const isManual =
    payment.capture === 'manual' || captures.some(({ reports }) => reports.some(({ state }) => state === 'succeeded'));
  const hasFailed = captures.some(({ state }) => state === 'failed');
  if (!isManual) {
    return hasEnded || hasFailed ? { state: 'failed', amountPaid: 0 } : { state: 'succeeded', amountPaid: authorised };
  }
  const captured = capturedMinor(payment);
  if (captured > 0) return { state: 'succeeded', amountPaid: captured };
  return hasEnded || hasFailed ? { state: 'failed', amountPaid: 0 } : { state: 'pending', amountPaid: null };
}

/** Whether more may still be captured of what was authorised, after a first capture. */
export function awaitsCaptures(payment: Pick<Payment, 'movements'>): boolean {
  const { movements } = payment;
  const captured = capturedMinor(payment);
  const hasEnded = movements.some(({ kind, state }) => kind === 'end' && state === 'succeeded');
  return captured > 0 && captured < (authorisedMinor(payment) ?? 0) && !hasEnded;
}
