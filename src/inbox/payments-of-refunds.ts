import type { Tx } from '../db/transaction.ts';
import type { SourceKey } from '../merchants/source.ts';
import type { Fact } from '../payments/fact.ts';
import { paymentsOfParts } from '../payments/lookups.ts';

/**
 * Facts that name a refund where the payment's id should be, changed so that they name the refund's payment and are about that
 * refund. A fact whose id is no refund that we know is left as it is.
 */
export async function withPaymentsOfRefunds(
  tx: Tx,
  source: SourceKey,
  facts: readonly Fact[],
): Promise<readonly Fact[]> {
  const asked = facts.flatMap((fact) => (fact.kind === 'refund' && fact.mayNameRefund ? [fact.paymentId] : []));
  if (asked.length === 0) return facts;
  const found = await paymentsOfParts(tx, { ...source, kind: 'refund' }, asked);
  return facts.map((fact): Fact => {
    const paymentId = fact.kind === 'refund' && fact.mayNameRefund ? found.get(fact.paymentId) : undefined;
    if (fact.kind !== 'refund' || paymentId === undefined) return fact;
    return { ...fact, paymentId, refundId: fact.paymentId };
  });
}
