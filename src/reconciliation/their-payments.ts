import { autocommit } from '../db/transaction.ts';
import { type PaymentKey, paymentKeyText, readPayments } from '../payments/store.ts';
import type { Listed } from '../provider-apis/api.ts';
import { foundPayments } from './item-store.ts';
import { read } from './reading.ts';
import type { ReconcileServices } from './reconcile.ts';
import type { Work } from './take-page.ts';

/**
 * The payments, as the provider has them, of refunds and disputes whose payment we have not heard the success of. A
 * refund can be years younger than its payment, which is then not within the window; without it the refund would wait
 * in vain and then count as an order's.
 * @throws {ProviderApiError}
 */
export async function theirPayments(
  { pool }: Pick<ReconcileServices, 'pool'>,
  { run, source, api }: Pick<Work, 'run' | 'source' | 'api'>,
  listed: readonly Listed[],
): Promise<readonly Listed[]> {
  const { merchantId, sourceId } = source;
  const facts = listed.flatMap((one) => read(source, one)?.facts ?? []);
  const ids = new Set(facts.flatMap((fact) => (fact.kind === 'payment' ? [] : [fact.paymentId])));
  const keys = [...ids].map((paymentId): PaymentKey => ({ merchantId, sourceId, paymentId }));
  const db = autocommit(pool);
  const known = await readPayments(db, keys);
  const taken = await foundPayments(db, run, [...ids]);
  const found: Listed[] = [];
  for (const key of keys) {
    if (known.get(paymentKeyText(key))?.state === 'succeeded' || taken.has(key.paymentId)) continue;
    const payment = await api.retrievePayment(key.paymentId);
    if (payment !== null) found.push(payment);
  }
  return found;
}
