import type { Source } from '../../src/merchants/source.ts';
import type { Offers } from '../../src/payments/bonus-rule.ts';
import { decide } from '../../src/payments/decide.ts';
import type { CustomerResolution, Decision } from '../../src/payments/decision.ts';
import type { Fact } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import type { CarriedToken } from '../../src/payments/token.ts';
import { BONUS_RATIO } from './ledger.ts';
import { entriesText, newPayment } from './payments.ts';

const SOURCE: Source = {
  merchantId: 'bus_default',
  sourceId: 'src_stripe',
  provider: 'stripe',
  mode: 'test',
  unreadableSecrets: 0,
  secrets: [],
  defaultPurpose: 'topup',
  metadata: 'all',
  refunds: 'auto',
  disputes: 'hold',
  customerLinkRule: 'create',
  capture: 'automatic',
  apiKey: null,
  chargeKey: null,
  enabled: true,
};

export interface Circumstances {
  readonly source?: Partial<Source>;
  readonly customer?: CustomerResolution;
  readonly waitIsOver?: boolean;
  readonly namingIsOver?: boolean;
  readonly isContested?: boolean;
  readonly isAssigned?: boolean;
  readonly carried?: Partial<CarriedToken>;
  readonly paidExpiryMinDays?: number;
  readonly offers?: Offers;
}

/** Decides facts in order, each under the same circumstances; returns the last decision. */
export function tell(
  facts: readonly Fact[],
  circumstances: Circumstances = {},
  from: Payment = newPayment(),
): Decision {
  // The payment is opened as the store does it, with the source's present settings.
  let payment: Payment = {
    ...from,
    refunds: circumstances.source?.refunds ?? from.refunds,
    disputes: circumstances.source?.disputes ?? from.disputes,
  };
  let last: Decision | null = null;
  for (const fact of facts) {
    last = decide({
      payment,
      fact,
      source: { ...SOURCE, ...circumstances.source },
      customer: circumstances.customer ?? { customerId: 'cus_a' },
      isAssigned: circumstances.isAssigned ?? false,
      carried: { token: null, receivedAt: new Date(), assignedCustomerId: null, ...circumstances.carried },
      currencies: new Set(['USD', 'INR', 'EUR']),
      maxBonusRatio: BONUS_RATIO,
      paidExpiryMinDays: circumstances.paidExpiryMinDays ?? null,
      offers: circumstances.offers ?? null,
      waitIsOver: circumstances.waitIsOver ?? false,
      isContested: circumstances.isContested ?? false,
      namingIsOver: circumstances.namingIsOver ?? false,
    });
    payment = last.payment;
  }
  if (last === null) throw new Error('no facts');
  return last;
}

/** `applied +1000 payment`, `parked no_customer`, and so on. */
export function said({ verdict, due }: Decision): string {
  const what = verdict.state === 'parked' ? `parked ${verdict.reason}` : verdict.state;
  return `${what} ${entriesText(due)}`.trim();
}
