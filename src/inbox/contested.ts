import { ofEachMerchant } from '../db/by-merchant.ts';
import { present, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { PAYMENT_KEY, type PaymentKey, paymentAt, paymentKeyText } from '../payments/tables.ts';
import type { LockedEvent, Verdict } from './events.ts';

/**
 * Payments of an order or subscription whose own event names their customer and is parked, for example because its token must not be
 * used. Until a person has decided that event, a weaker sign (a link, say) must not credit anybody for them.
 */

interface Work {
  readonly event: Pick<LockedEvent, 'eventId' | 'merchantId' | 'sourceId'>;
  readonly facts: readonly Fact[];
  readonly verdict: Verdict;
}

const REASONS: ReadonlySet<string> = new Set(['bad_token', 'token_used', 'unknown_customer']);

export class Contested {
  /** The events that name somebody, by the payment. */
  readonly #events: Map<string, Set<string>>;

  constructor(events: readonly (PaymentKey & { readonly eventId: string })[]) {
    const byPayment = Map.groupBy(events, paymentKeyText);
    this.#events = new Map([...byPayment].map(([key, own]) => [key, new Set(own.map(({ eventId }) => eventId))]));
  }

  /** Whether another event than this one contests the payment. */
  has({ event }: Work, key: PaymentKey): boolean {
    return [...(this.#events.get(paymentKeyText(key)) ?? [])].some((eventId) => eventId !== event.eventId);
  }

  /** An event of this batch was not applied. */
  note({ event: { merchantId, sourceId, eventId }, facts, verdict: { reason } }: Work): void {
    for (const fact of reason !== null && REASONS.has(reason) ? facts : []) {
      if (!isNaming(fact)) continue;
      const key = paymentKeyText({ merchantId, sourceId, paymentId: fact.paymentId });
      this.#events.set(key, (this.#events.get(key) ?? new Set()).add(eventId));
    }
  }
}

const isNaming = (fact: Fact): boolean => fact.kind === 'payment' && (fact.named ?? fact.tokenBy) !== undefined;

interface Step {
  readonly fact: Fact;
  readonly key: PaymentKey;
}

/** Asks only for payments that may be named and of which something was parked, so for almost none. */
export async function contestedPayments(
  tx: Tx,
  steps: readonly Step[],
  payments: ReadonlyMap<string, Payment>,
): Promise<Contested> {
  const asked = steps.flatMap(({ fact, key }) => {
    const { heardOf, purpose } = paymentAt(payments, key);
    return fact.kind === 'payment' && fact.mayBeNamed === true && heardOf && purpose === null ? [key] : [];
  });
  const unique = [...new Map(asked.map((key) => [paymentKeyText(key), key])).values()];
  return new Contested(
    await ofEachMerchant(unique, async (merchantId, own) => PARKED_NAMES.all(tx, { merchantId, payments: own })),
  );
}

const PARKED_NAME = { ...PAYMENT_KEY, paymentId: present(text), eventId: text };

const PARKED_NAMES = statement({
  name: 'parked-names',
  params: { merchantId: text, payments: rowsOf({ sourceId: text, paymentId: text }) },
  row: PARKED_NAME,
  text: ({ merchantId, payments }) => `
    select ${columns(PARKED_NAME, 'e')}
    from provider_event e join ${payments('p', { merchantId })} using (merchant_id, source_id, payment_id)
    where e.state = 'parked' and e.reason in ('bad_token', 'token_used', 'unknown_customer')`,
});
