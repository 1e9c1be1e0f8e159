import { readIntent } from '../../src/payments/intent.ts';
import type { Payment } from '../../src/payments/payment.ts';
import type { Purpose } from '../../src/payments/purpose.ts';
import { record } from '../../src/payments/record.ts';
import { settle } from '../../src/payments/settle.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { newPayment } from '../support/payments.ts';
import { interpret } from './reading.ts';

/** What a wallet has received in the end from the one payment that `bodies` tell of, in this order. */
export function received(provider: ProviderName, bodies: readonly string[], purpose: Purpose = 'topup'): number {
  let payment: Payment | undefined;
  for (const body of bodies) {
    const interpretation = interpret(provider, body);
    for (const fact of interpretation.kind === 'facts' ? interpretation.facts : []) {
      const intent =
        fact.kind === 'payment' ? readIntent(fact.metadata, { defaultPurpose: purpose, metadata: 'all' }) : null;
      if (typeof intent === 'string') throw new Error(intent);
      payment = record(payment ?? newPayment({ paymentId: fact.paymentId }), fact, intent);
    }
  }
  if (payment === undefined) return 0;
  const { credit, parts } = settle(payment, 'auto');
  return parts.reduce((sum, part) => sum + part.credit - part.take, credit);
}

/** Every order of some items. */
export function ordersOf<Item>(items: readonly Item[]): Item[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, index) => ordersOf(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}
