import {
  bigint,
  boolean,
  hex,
  integer,
  json,
  milliseconds,
  named,
  nullable,
  oneOf,
  smallint,
  text,
  timestamptz,
} from '../db/codec.ts';
import { omit, pick, type Row, table } from '../db/table.ts';
import { invariant } from '../errors.ts';
import type { KeyVersion } from '../ledger/keys.ts';
import type { Handled, LiftedRound, Movement, PartRole, Payment, PaymentPart } from './payment.ts';
import type { CaptureRule, DisputeRule, PaymentPurpose, RefundPolicy } from './purpose.ts';
import { resolvePart } from './record.ts';
import type { PartState, Report } from './report.ts';

/** The tables of payments, and how a payment is made of their rows. */

export interface PaymentKey {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly paymentId: string;
}

export function paymentKeyText({ merchantId, sourceId, paymentId }: PaymentKey): string {
  return `${merchantId}\0${sourceId}\0${paymentId}`;
}

/** A payment that was read or locked before. */
export function paymentAt(payments: ReadonlyMap<string, Payment>, key: PaymentKey): Payment {
  const payment = payments.get(paymentKeyText(key));
  invariant(payment !== undefined, 'a fact without its payment');
  return payment;
}

export const PAYMENT = table('payment', {
  merchantId: text,
  sourceId: text,
  paymentId: text,
  state: oneOf<Payment['state']>(),
  purpose: nullable(oneOf<PaymentPurpose>()),
  checkoutId: nullable(text),
  customerId: nullable(text),
  namedBy: nullable(oneOf<NonNullable<Payment['namedBy']>>()),
  groupId: nullable(text),
  refunds: oneOf<RefundPolicy>(),
  disputes: oneOf<DisputeRule>(),
  capture: oneOf<CaptureRule>(),
  currency: nullable(text),
  amountPaid: nullable(bigint),
  creditAmount: nullable(bigint),
  bonusSplit: boolean,
  bonusAmount: nullable(bigint),
  bonusPrice: nullable(bigint),
  bonusRuleId: nullable(text),
  bonusDays: nullable(integer),
  paidDays: nullable(integer),
  tokenHash: nullable(hex),
  agreedAmount: nullable(bigint),
  waitedOut: boolean,
  heardOf: boolean,
  paidAt: nullable(milliseconds),
  failedAt: nullable(milliseconds),
  pendingAt: nullable(milliseconds),
  postedCredit: bigint,
  postedReturn: bigint,
  postings: integer,
  postedBonus: bigint,
  bonusPostings: integer,
  bonusLost: bigint,
  bonusLostBefore: bigint,
  bonusUndone: bigint,
  bonusPaid: nullable(bigint),
  keyVersion: smallint<KeyVersion>(),
  moves: integer,
  keySource: nullable(text),
});
export const PART = table('payment_part', {
  merchantId: text,
  sourceId: text,
  paymentId: text,
  kind: oneOf<PaymentPart['kind']>(),
  partId: text,
  ordinal: integer,
  role: oneOf<PartRole>(),
  state: oneOf<PartState>(),
  amountMinor: named('amount', nullable(bigint)),
  currency: nullable(text),
  postedCredit: bigint,
  postedTake: bigint,
  postings: integer,
  postedBonusTake: bigint,
  bonusPostings: integer,
  holdWanted: bigint,
  holdNo: nullable(bigint),
  holds: integer,
  lifted: nullable(json<LiftedRound>()),
  reports: named('told', nullable(json<readonly Report[]>())),
  openedAt: nullable(milliseconds),
  updatedAt: milliseconds,
});
export const MOVEMENT = table('payment_movement', {
  merchantId: text,
  sourceId: text,
  paymentId: text,
  kind: oneOf<Movement['kind']>(),
  movementId: text,
  state: oneOf<PartState>(),
  amountMinor: named('amount', bigint),
  currency: nullable(text),
  reports: named('told', json<readonly Report[]>()),
});
export const PAYMENT_KEY = pick(PAYMENT.shape, 'merchantId', 'sourceId', 'paymentId');
/** The columns that name a payment of one merchant. */
export const OWN_PAYMENT_KEY = omit(PAYMENT_KEY, 'merchantId');

export function assemble(
  payments: readonly Row<typeof PAYMENT.shape>[],
  {
    parts,
    movements,
    handled,
  }: {
    readonly parts: readonly Row<typeof PART.shape>[];
    readonly movements: readonly Row<typeof MOVEMENT.shape>[];
    readonly handled: readonly (PaymentKey & { readonly handled: Handled })[];
  },
): Map<string, Payment> {
  const partsOf = Map.groupBy(parts, paymentKeyText);
  const movementsOf = Map.groupBy(movements, paymentKeyText);
  const handledOf = Map.groupBy(handled, paymentKeyText);
  return new Map(
    payments.map((payment) => {
      const key = paymentKeyText(payment);
      const own = { parts: partsOf.get(key) ?? [], movements: movementsOf.get(key) ?? [] };
      // This release notes when a payment succeeded and what was said of each part.
      const isUnread =
        (payment.state === 'succeeded' && payment.paidAt === null) || own.parts.some(({ reports }) => reports === null);
      const parts = own.parts.map(toPart);
      const ownHandled = (handledOf.get(key) ?? []).map((one) => one.handled);
      return [key, { ...payment, isUnread, parts, movements: own.movements.map(toMovement), handled: ownHandled }];
    }),
  );
}

/** The columns that a list shows of a payment: all except its parts and movements. */
export const LISTED = { ...PAYMENT.shape, provider: text, createdAt: timestamptz };

function toPart({
  merchantId: _m,
  sourceId: _s,
  paymentId: _p,
  updatedAt,
  ...part
}: Row<typeof PART.shape>): PaymentPart {
  return { ...part, reports: reportsOf(part, updatedAt) };
}

function toMovement({
  merchantId: _m,
  sourceId: _s,
  paymentId: _p,
  ...movement
}: Row<typeof MOVEMENT.shape>): Movement {
  return movement;
}

/** The reports of a part. The former release stored none, so for its parts the row itself is the only report. */
function reportsOf(
  {
    kind,
    role,
    state,
    amountMinor,
    reports,
  }: Pick<Row<typeof PART.shape>, 'kind' | 'role' | 'state' | 'amountMinor' | 'reports'>,
  updatedAt: number,
): readonly Report[] {
  const byRow: Report = { state, at: updatedAt, stage: 0, amountMinor, reason: null, mark: null };
  if (reports === null) return [byRow];
  return resolvePart(kind, role, reports).state === state ? reports : [...reports, byRow];
}
