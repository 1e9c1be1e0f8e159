import type { Source } from '../merchants/source.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import type { OpenedPayment } from '../payments/store.ts';
import { type PaymentKey, paymentAt, paymentKeyText } from '../payments/tables.ts';
import type { PartialReading } from '../providers/shared/provider.ts';
import type { LockedEvent } from './events.ts';

/** News that is not applied, or that could not be read: of its payment only is noted that it was heard of. */

export interface UnreadNews {
  readonly paymentId: string;
  /** Whether it is news of the payment itself, so that its refunds wait for that. */
  readonly isOwn: boolean;
}

interface Work {
  readonly event: Pick<LockedEvent, 'merchantId' | 'sourceId'>;
  readonly source: Source | null;
  readonly unread: readonly UnreadNews[];
}

/** Which payment a parked event names, so that whoever looks for the payment finds the event. */
export function namedAnyway({ facts = [], names }: PartialReading): {
  readonly paymentId: string | null;
  readonly unread: readonly UnreadNews[];
} {
  const unread = facts
    .filter((fact) => fact.kind !== 'refund' || !(fact.ofGroup ?? fact.mayNameRefund ?? false))
    .map(({ kind, paymentId }): UnreadNews => ({ paymentId, isOwn: kind === 'payment' }));
  if (names !== undefined && names.of !== 'object')
    unread.push({ paymentId: names.paymentId, isOwn: names.of === 'payment' });
  return { paymentId: names?.paymentId ?? facts[0]?.paymentId ?? null, unread };
}

export function toOpen({ provider, refunds, disputes, capture }: Source, key: PaymentKey): OpenedPayment {
  return { ...key, provider, refunds, disputes, capture };
}

/** The payments of such news, to be locked with all others. */
export function unreadPayments(works: readonly Work[]): readonly OpenedPayment[] {
  return works.flatMap(({ source, unread, event: { merchantId, sourceId } }) =>
    source === null ? [] : unread.map(({ paymentId }) => toOpen(source, { merchantId, sourceId, paymentId })),
  );
}

/** The payments, with a note on those that such news is of: their refunds wait for it instead of counting as an order's. */
export function withUnread(payments: ReadonlyMap<string, Payment>, works: readonly Work[]): Map<string, Payment> {
  const noted = new Map(payments);
  for (const { source, unread, event } of works) {
    const { merchantId, sourceId } = event;
    for (const { paymentId } of source === null ? [] : unread.filter(({ isOwn }) => isOwn)) {
      const key = { merchantId, sourceId, paymentId };
      noted.set(paymentKeyText(key), { ...paymentAt(noted, key), heardOf: true });
    }
  }
  return noted;
}

/**
 * The payments as they were: an event that is parked or waits teaches them nothing but that they were heard of, and of which group
 * they are, under whose id the event may be that names somebody for them.
 */
export function untaught(
  { event: { merchantId, sourceId }, facts }: Pick<Work, 'event'> & { readonly facts: readonly Fact[] },
  before: ReadonlyMap<string, Payment>,
): Map<string, Payment> {
  const groups = new Map(
    facts
      .filter((fact) => fact.kind === 'payment')
      .map(({ paymentId, groupId = null }) => [paymentKeyText({ merchantId, sourceId, paymentId }), groupId]),
  );
  return new Map(
    [...before].map(([key, payment]) => {
      const groupId = groups.get(key);
      if (groupId === undefined) return [key, payment];
      return [key, { ...payment, heardOf: true, groupId: payment.groupId ?? groupId }];
    }),
  );
}
