import type { ChargeRequest } from '../charging/charger.ts';
import { bigint, boolean, hex, integer, json, named, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { pick, type Row, table } from '../db/table.ts';
import type { TopUpReason, TopUpState } from './attempt.ts';
import type { Block, RuleState, TopUpRule, TopUpTerms } from './rule.ts';
import type { TopUpSession } from './session.ts';

const key = { merchantId: text, customerId: text, currency: text };

export const TOPUP_RULE = table('topup_rule', {
  ...key,
  enabled: boolean,
  threshold: bigint,
  mode: oneOf<TopUpTerms['mode']>(),
  amount: nullable(bigint),
  target: nullable(bigint),
  maxCharge: bigint,
  monthlyCap: bigint,
  maxPerDay: integer,
  minIntervalSeconds: integer,
  timeZone: text,
  sourceId: nullable(text),
  providerCustomerId: nullable(text),
  paymentMethodId: nullable(text),
  consentAt: nullable(timestamptz),
  consentText: nullable(text),
  suspendedReason: nullable(oneOf<NonNullable<RuleState['suspendedReason']>>()),
  suspendedAt: nullable(timestamptz),
  suspendedMethod: nullable(hex),
  declineCode: nullable(text),
  failuresInARow: integer,
  retryAt: nullable(timestamptz),
  blocks: json<Partial<Record<Block, string>>>(),
  createdAt: timestamptz,
  updatedAt: timestamptz,
  endedAt: nullable(timestamptz),
});

/** An attempt, as it is stored. */
export const TOPUP = table('topup', {
  ...key,
  topUpId: named('topup_id', text),
  origin: oneOf<'threshold' | 'manual' | 'schedule'>(),
  state: oneOf<TopUpState>(),
  amount: bigint,
  sourceId: nullable(text),
  paymentId: nullable(text),
  seriesId: nullable(text),
  reason: nullable(oneOf<TopUpReason>()),
  declineCode: nullable(text),
  method: nullable(hex),
  request: nullable(json<ChargeRequest>()),
  requestHash: nullable(hex),
  session: nullable(json<TopUpSession>()),
  cap: nullable(bigint),
  monthSince: nullable(timestamptz),
  isLate: boolean,
  idempotencyKey: nullable(text),
  askedAt: nullable(timestamptz),
  leasedUntil: nullable(timestamptz),
  lookAt: nullable(timestamptz),
  createdAt: timestamptz,
  settledAt: nullable(timestamptz),
});

export type TopUp = Row<typeof TOPUP.shape>;

export const TOPUP_KEY = pick(TOPUP.shape, 'merchantId', 'customerId', 'currency', 'topUpId');

type RuleRow = Row<typeof TOPUP_RULE.shape>;

export function toRule(row: RuleRow): TopUpRule {
  const { sourceId, providerCustomerId, paymentMethodId, consentAt, consentText, ...rest } = row;
  const isPaid = sourceId !== null && providerCustomerId !== null;
  return {
    ...rest,
    payment: isPaid ? { sourceId, providerCustomerId, paymentMethodId } : null,
    consent: consentAt === null || consentText === null ? null : { acceptedAt: consentAt, textVersion: consentText },
  };
}

export function toRow({ payment, consent, ...rest }: TopUpRule): RuleRow {
  return {
    ...rest,
    sourceId: payment?.sourceId ?? null,
    providerCustomerId: payment?.providerCustomerId ?? null,
    paymentMethodId: payment?.paymentMethodId ?? null,
    consentAt: consent?.acceptedAt ?? null,
    consentText: consent?.textVersion ?? null,
  };
}
