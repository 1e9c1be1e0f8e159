import type { Tx } from '../db/transaction.ts';
import type { Fact, GroupToken, Naming, PaymentFact, Tie } from '../payments/fact.ts';
import { lockGroups, nameGroups, type PaymentGroup, readGroups } from '../payments/group-store.ts';
import { type HandledTie, tieHandled } from '../payments/handled-store.ts';
import type { Payment } from '../payments/payment.ts';
import { type PaymentKey, paymentAt } from '../payments/tables.ts';
import type { LockedEvent, Verdict } from './events.ts';

/** Payments of one invoice or subscription: one event tells of the payment, another one of its customer or its refund. */

/** What is joined of an event that is being applied. */
interface Work {
  readonly event: Pick<LockedEvent, 'merchantId' | 'sourceId' | 'assignedCustomerId'>;
  facts: readonly Fact[];
  paymentId: string | null;
  readonly naming: Naming | null;
  readonly ties: readonly Tie[];
}

const groupKey = ({ event }: Pick<Work, 'event'>, groupId: string) => {
  return { merchantId: event.merchantId, sourceId: event.sourceId, groupId };
};

const keyText = ({ merchantId, sourceId, groupId }: ReturnType<typeof groupKey>) =>
  `${merchantId} ${sourceId} ${groupId}`;

/**
 * Joins what several events tell of one group: a payment gets the customer that its group names; an event that names a group's
 * customer becomes news of each of its payments; the refund of a group becomes one of its payment, also where somebody handled
 * it by hand before. Call it before any payment is locked, since groups are locked first everywhere, and before what was handled
 * is read.
 */
export async function joinGroups(tx: Tx, works: readonly Work[], now: Date): Promise<void> {
  const members = works.flatMap((work) => [
    ...work.ties.map(({ groupId, paymentId }) => ({ ...groupKey(work, groupId), paymentId })),
    ...work.facts.flatMap((fact) => membersOf(fact).map((one) => ({ ...groupKey(work, one.groupId), ...one }))),
    ...(work.naming === null ? [] : [{ ...groupKey(work, work.naming.groupId), paymentId: null }]),
  ]);
  if (members.length === 0) return;
  const groups = new Map((await lockGroups(tx, members, now)).map((group) => [keyText(group), group]));
  await tieHandled(
    tx,
    works.flatMap((work) => tiesOf(work, (groupId) => groups.get(keyText(groupKey(work, groupId))))),
  );
  for (const work of works) {
    const groupAt = (groupId: string) => groups.get(keyText(groupKey(work, groupId)));
    work.facts = [...work.facts.map((fact) => joined(fact, groupAt)), ...namedBy(work, groupAt)];
    work.paymentId = work.facts[0]?.paymentId ?? work.paymentId;
  }
}

type GroupAt = (groupId: string) => PaymentGroup | undefined;

/** The groups under whose id something may have been handled, and their payments, as far as they are known. */
function tiesOf(work: Work, groupAt: GroupAt): readonly HandledTie[] {
  const groupIds = [
    ...work.ties.map(({ groupId }) => groupId),
    ...work.facts.flatMap((fact) => (fact.kind === 'refund' && fact.ofGroup ? [fact.paymentId] : [])),
  ];
  return [...new Set(groupIds)].flatMap((groupId) => {
    const paymentId = paymentOf(groupAt(groupId));
    return paymentId === null ? [] : [{ ...groupKey(work, groupId), paymentId }];
  });
}

/** A refund of a group is of its first payment. */
const paymentOf = (group: PaymentGroup | undefined): string | null => group?.paymentIds[0] ?? null;

function membersOf(fact: Fact): readonly { readonly groupId: string; readonly paymentId: string | null }[] {
  if (fact.kind === 'payment' && fact.groupId !== undefined)
    return [{ groupId: fact.groupId, paymentId: fact.paymentId }];
  return fact.kind === 'refund' && fact.ofGroup ? [{ groupId: fact.paymentId, paymentId: null }] : [];
}

function joined(fact: Fact, groupAt: GroupAt): Fact {
  if (fact.kind === 'payment' && fact.groupId !== undefined && fact.named === undefined) {
    const customerId = groupAt(fact.groupId)?.customerId ?? null;
    return customerId === null ? fact : { ...fact, named: { customerId, by: 'subscription' } };
  }
  if (fact.kind !== 'refund' || !fact.ofGroup) return fact;
  const paymentId = paymentOf(groupAt(fact.paymentId));
  const { ofGroup: _, ...own } = fact;
  return paymentId === null ? fact : { ...own, paymentId };
}

/** The naming of a group, as news of each of its payments. */
function namedBy({ naming, event }: Work, groupAt: GroupAt): readonly PaymentFact[] {
  if (naming === null) return [];
  const { groupId, named, customer, occurredAt } = naming;
  const silent = { state: 'pending', amountMinor: null, currency: null, metadata: {} } as const;
  const token = tokenOf(naming, event);
  const names = {
    ...(named === undefined ? {} : { named }),
    ...(token === null ? { groupToken: null } : carrying(token)),
  };
  return (groupAt(groupId)?.paymentIds ?? []).map((paymentId) => {
    return { kind: 'payment', paymentId, ...silent, customer, occurredAt, groupId, ...names };
  });
}

/** The token that an event names its group by; a person's choice counts instead. */
export function tokenOf({ token }: Naming, { assignedCustomerId }: Pick<LockedEvent, 'assignedCustomerId'>) {
  return assignedCustomerId === null ? (token ?? null) : null;
}

/** A token on a subscription is written by the merchant's own key. */
const carrying = (token: GroupToken) => {
  return { groupToken: token, seriesId: token.seriesId, tokenBy: 'subscription' } as const;
};

interface Step {
  readonly fact: Fact;
  readonly key: PaymentKey;
}

/** The tokens of the groups that the facts of a batch may be of, as the events before have left them. */
export class GroupTokens {
  readonly #tokens: Map<string, GroupToken>;

  private constructor(tokens: Map<string, GroupToken>) {
    this.#tokens = tokens;
  }

  /**
   * Call it after payments are locked: whoever tells of a token of a group later finds the payments as they are then.
   * @param payments as they were, since one may have been told before to be of a group
   */
  static async read(tx: Tx, steps: readonly Step[], payments: ReadonlyMap<string, Payment>): Promise<GroupTokens> {
    const asked = steps.flatMap(({ fact, key }) => keyOfGroup({ fact, key }, paymentAt(payments, key)) ?? []);
    const groups = asked.length === 0 ? [] : await readGroups(tx, asked);
    return new GroupTokens(
      new Map(
        groups.flatMap(({ tokenHash: hash, seriesId, ...group }) =>
          hash === null ? [] : [[keyText(group), { hash, seriesId }]],
        ),
      ),
    );
  }

  /** The fact with the token of its group, if that has one. */
  carriedBy({ fact, key }: Step, payment: Payment): Fact {
    const group = keyOfGroup({ fact, key }, payment);
    const token = group === null ? undefined : this.#tokens.get(keyText(group));
    return token === undefined ? fact : { ...fact, ...carrying(token) };
  }

  /** An event of this batch has been decided. */
  note(work: Work & Settled): void {
    const { naming, event } = work;
    if (naming === null || !namesGroup(work)) return;
    const token = tokenOf(naming, event);
    const key = keyText(groupKey(work, naming.groupId));
    if (token === null) this.#tokens.delete(key);
    else this.#tokens.set(key, token);
  }
}

/** The group whose token a fact would carry; null if it is of none, or carries one of its own that no payer can have written. */
function keyOfGroup({ fact, key: { merchantId, sourceId } }: Step, payment: Payment) {
  if (fact.kind !== 'payment' || fact.tokenBy !== undefined || fact.groupToken === null) return null;
  const groupId = fact.groupId ?? payment.groupId;
  return groupId === null ? null : { merchantId, sourceId, groupId };
}

/**
 * What a fact that carries its group's token says of the payment as it is known. Only a success can be judged by a token: news
 * that tells no result repeats the success that is known, so that a token which comes late still decides, or says nothing of it.
 */
export function asKnown(fact: Fact, { state, amountPaid, currency, paidAt }: Payment): Fact {
  if (fact.kind !== 'payment' || !fact.groupToken || fact.state === 'succeeded') return fact;
  const { groupToken: _, tokenBy: _by, ...silent } = fact;
  if (fact.state !== 'pending' || state !== 'succeeded') return silent;
  const occurredAt = paidAt === null ? null : new Date(paidAt);
  return { ...fact, state, amountMinor: amountPaid, currency, occurredAt };
}

type Settled = Pick<Work, 'naming'> & { readonly verdict: Verdict };

/**
 * Whether an event's name counts for its group: it does even where the event is parked because it comes too late for one of the
 * payments, since it may not be too late for the others.
 */
export function namesGroup({ naming, verdict: { state, reason } }: Settled): boolean {
  return naming !== null && (state === 'applied' || reason === 'named_late' || reason === 'handled_by_hand');
}

/** Whether {@link asKnown} left nothing of what a fact says of whose it is. */
export function isSilenced(before: Fact, fact: Fact): boolean {
  return (
    before.kind === 'payment' &&
    Boolean(before.groupToken) &&
    fact.kind === 'payment' &&
    !fact.groupToken &&
    !fact.named
  );
}

/** Notes whom events name, for payments of their groups that wait or are told of later. */
export async function saveGroupNames(tx: Tx, works: readonly (Work & Settled)[]): Promise<void> {
  const named = works.flatMap((work) => {
    const { naming, event } = work;
    if (naming === null || !namesGroup(work)) return [];
    const customerId = event.assignedCustomerId ?? naming.named?.customerId ?? null;
    const { hash: tokenHash = null, seriesId = null } = tokenOf(naming, event) ?? {};
    return [{ ...groupKey(work, naming.groupId), customerId, tokenHash, seriesId }];
  });
  await nameGroups(tx, named);
}
