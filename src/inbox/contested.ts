import { ofEachMerchant } from '../db/by-merchant.ts';
import { present, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import type { Fact, Naming } from '../payments/fact.ts';
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
  readonly naming: Naming | null;
  readonly verdict: Verdict;
}

const REASONS: ReadonlySet<string> = new Set(['bad_token', 'token_used', 'unknown_customer']);

export class Contested {
  /** The events that name somebody, by the payment or its group. */
  readonly #events: Map<string, Set<string>>;

  constructor(events: readonly (PaymentKey & { readonly eventId: string })[]) {
    const byPayment = Map.groupBy(events, paymentKeyText);
    this.#events = new Map([...byPayment].map(([key, own]) => [key, new Set(own.map(({ eventId }) => eventId))]));
  }

  /** Whether another event than this one contests the payment of a fact. */
  has({ event }: Work, { fact, key }: Step, payment: Payment): boolean {
    const keys = [key, groupOf(fact, payment, key)].filter((one) => one !== null);
    const eventIds = keys.flatMap((one) => [...(this.#events.get(paymentKeyText(one)) ?? [])]);
    return eventIds.some((eventId) => eventId !== event.eventId);
  }

  /** An event of this batch was not applied. */
  note(work: Work): void {
    const { merchantId, sourceId, eventId } = work.event;
    const group = groupContested(work);
    const named = isContesting(work) ? work.facts.filter(isNaming).map(({ paymentId }) => paymentId) : [];
    for (const paymentId of group === null ? named : [...named, group]) {
      const key = paymentKeyText({ merchantId, sourceId, paymentId });
      this.#events.set(key, (this.#events.get(key) ?? new Set()).add(eventId));
    }
  }
}

const isContesting = ({ verdict: { state, reason } }: Pick<Work, 'verdict'>) =>
  state === 'parked' && reason !== null && REASONS.has(reason);

/**
 * The group whose payments an event contests that is not applied; null if it is applied or names no group. Such an event is found
 * under the id of its group, since it is about all of its payments, those too that are told of later.
 */
export function groupContested(work: Pick<Work, 'naming' | 'verdict'>): string | null {
  return work.naming !== null && isContesting(work) ? work.naming.groupId : null;
}

/** The group of a payment, by the key under which events of all of it are found. */
function groupOf(fact: Fact, payment: Payment, { merchantId, sourceId }: PaymentKey): PaymentKey | null {
  const groupId = (fact.kind === 'payment' ? fact.groupId : undefined) ?? payment.groupId;
  return groupId === null ? null : { merchantId, sourceId, paymentId: groupId };
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
    const payment = paymentAt(payments, key);
    if (fact.kind !== 'payment' || payment.purpose !== null) return [];
    const group = groupOf(fact, payment, key);
    return [...(fact.mayBeNamed === true && payment.heardOf ? [key] : []), ...(group === null ? [] : [group])];
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
    from ${payments('p')}
    cross join lateral (
      select * from provider_event e
      where e.merchant_id = ${merchantId} and e.source_id = p.source_id and e.payment_id = p.payment_id
        and e.state = 'parked' and e.reason in ('bad_token', 'token_used', 'unknown_customer') offset 0) e`,
});
