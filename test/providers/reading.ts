import { PROVIDERS } from '../../src/providers/index.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import type { Interpretation } from '../../src/providers/shared/provider.ts';

export function interpret(provider: ProviderName, body: string | object): Interpretation {
  return PROVIDERS[provider].interpret(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
}

/** `payment pi_1 succeeded 5000 USD`, `ignored`, `parked malformed`. */
export function summary(interpretation: Interpretation): string {
  if (interpretation.kind === 'ignored') return 'ignored';
  if (interpretation.kind === 'parked') return `parked ${interpretation.reason}`;
  const ties = (interpretation.ties ?? []).map(({ groupId, paymentId }) => `${paymentId} is of ${groupId}`);
  const facts = interpretation.facts.map((fact) =>
    [
      fact.kind === 'movement' ? fact.movement : fact.kind,
      fact.paymentId,
      fact.state,
      fact.amountMinor,
      fact.currency,
    ].join(' '),
  );
  return [...facts, ...ties].join(', ');
}

/** A Stripe event with other values in its object. */
export const withObject = (body: string, values: object): object => {
  const event = JSON.parse(body);
  return { ...event, data: { ...event.data, object: { ...event.data.object, ...values } } };
};

/** A Dodo event with other values in its data. */
export const withData = (body: string, values: object): object => {
  const event = JSON.parse(body);
  return { ...event, data: { ...event.data, ...values } };
};
