import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import type { CustomerResolution } from '../payments/decide.ts';
import type { ProviderCustomer } from '../payments/fact.ts';
import type { CustomerLinkRule } from '../payments/purpose.ts';
import { createCustomers, findCustomers, findLinks, linkCustomers } from './store.ts';

/** Someone an event says money belongs to. */
export interface Wanted {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly rule: CustomerLinkRule;
  /** The customer a person or the payment's metadata names; it must exist. */
  readonly namedCustomerId: string | null;
  readonly provider: ProviderCustomer;
}

/**
 * Finds whose money it is, in this order: the customer named, else the one linked with the provider's customer, else a
 * new customer made from the provider's. Who is named is linked with the provider's customer for the next time. Without
 * a name and a provider's customer id nobody is guessed: e-mail addresses in payments are typed by payers and verified
 * by no one. A source whose rule is `linked` makes no customers, one whose rule is `named` looks at no links either.
 * @returns one resolution for each `wanted`, in order
 */
export async function resolveCustomers(
  tx: Tx,
  wanted: readonly Wanted[],
  currencies: ReadonlySet<string>,
  now: Date,
): Promise<CustomerResolution[]> {
  const byMerchant = Map.groupBy(wanted, (one) => one.merchantId);
  const resolutions = new Map<Wanted, CustomerResolution>();
  for (const [merchantId, ofMerchant] of byMerchant) {
    const named = ofMerchant.flatMap((one) =>
      one.namedCustomerId === null ? [] : [{ one, customerId: one.namedCustomerId }],
    );
    const existing = await findCustomers(
      tx,
      merchantId,
      named.map(({ customerId }) => customerId),
    );
    for (const { one, customerId } of named) {
      resolutions.set(one, existing.has(customerId) ? { customerId } : { problem: 'unknown_customer' });
    }
    // In one order for every worker, so that two that link the same people cannot deadlock.
    const bySource = [...Map.groupBy(ofMerchant, (one) => one.sourceId)].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [sourceId, ofSource] of bySource) {
      const known = ofSource.flatMap((one) => {
        const resolution = resolutions.get(one);
        const isFound =
          one.rule !== 'named' && one.provider.id !== null && resolution !== undefined && 'customerId' in resolution;
        return isFound ? [{ providerCustomerId: one.provider.id, customerId: resolution.customerId }] : [];
      });
      await linkCustomers(tx, merchantId, sourceId, known);
      const unnamed = ofSource.filter((one) => one.namedCustomerId === null);
      const links = await linkAll(tx, merchantId, sourceId, unnamed, currencies, now);
      for (const one of unnamed) {
        const customerId = one.provider.id === null ? undefined : links.get(one.provider.id);
        resolutions.set(one, customerId === undefined ? { problem: 'no_customer' } : { customerId });
      }
    }
  }
  return wanted.map((one) => {
    const resolution = resolutions.get(one);
    invariant(resolution !== undefined, 'a wanted customer was not looked for');
    return resolution;
  });
}

/** The customers linked with the provider's, making and linking those that are not. */
async function linkAll(
  tx: Tx,
  merchantId: string,
  sourceId: string,
  wanted: readonly Wanted[],
  currencies: ReadonlySet<string>,
  now: Date,
): Promise<Map<string, string>> {
  const asking = wanted.filter((one) => one.rule !== 'named');
  const people = new Map(asking.flatMap((one) => (one.provider.id === null ? [] : [[one.provider.id, one.provider]])));
  const links = await findLinks(tx, merchantId, sourceId, [...people.keys()]);
  const welcome = new Set(asking.flatMap((one) => (one.rule === 'create' ? [one.provider.id] : [])));
  const strangers = [...people].filter(([id]) => welcome.has(id) && !links.has(id));
  if (strangers.length === 0) return links;
  // Two workers that meet the same stranger at once take turns, so that one customer is made, not two.
  await tx.query(
    `select pg_advisory_xact_lock(hashtextextended(key, 0)) from (select key from unnest($1::text[]) as key order by key offset 0) as sorted`,
    [strangers.map(([id]) => `${merchantId} ${sourceId} ${id}`)],
  );
  const meanwhile = await findLinks(
    tx,
    merchantId,
    sourceId,
    strangers.map(([id]) => id),
  );
  const missing = strangers.filter(([id]) => !meanwhile.has(id));
  const inputs = missing.map(([, person]) => ({ email: person.email ?? '', name: person.name ?? '' }));
  const made = await createCustomers(tx, merchantId, inputs, currencies, now);
  const pairs = missing.map(([providerCustomerId], index) => {
    const customerId = made[index];
    invariant(customerId !== undefined, 'a customer was not made');
    meanwhile.set(providerCustomerId, customerId);
    return { providerCustomerId, customerId };
  });
  await linkCustomers(tx, merchantId, sourceId, pairs);
  return new Map([...links, ...meanwhile]);
}
