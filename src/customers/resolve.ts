import { array, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Tx } from '../db/transaction.ts';
import { newId } from '../ids.ts';
import type { WalletOpening } from '../ledger/open-wallets.ts';
import type { CustomerResolution } from '../payments/decision.ts';
import type { ProviderCustomer } from '../payments/fact.ts';
import type { CustomerLinkRule } from '../payments/purpose.ts';
import { type CustomerLink, findLinks, givesWay, saveLinks } from './links.ts';
import { createCustomers, findCustomers } from './store.ts';

/** Someone an event says money belongs to. */
export interface Wanted {
  readonly merchantId: string;
  readonly sourceId: string;
  /** Null where a name is told of no payment. */
  readonly paymentId: string | null;
  readonly rule: CustomerLinkRule;
  /** The customer a person or the payment's metadata names; it must exist. */
  readonly namedCustomerId: string | null;
  /** What a link says of where it comes from, if that name may be learnt; null where a payer may have written it. */
  readonly teaches: 'payment' | 'order' | 'subscription' | 'replay' | null;
  /** The provider's time of the payment. */
  readonly at: Date | null;
  readonly provider: ProviderCustomer;
}

type NewLink = Omit<CustomerLink, 'createdAt'>;
type KnownLink = Pick<CustomerLink, 'customerId' | 'cause' | 'namedAt'>;

/**
 * Says which customer the money of each event of a batch belongs to: the customer who is named, else the one linked with the
 * provider's customer, else a new one made from the provider's. Without a name and without a provider's customer id it
 * guesses nobody: payers type e-mail addresses, and nobody verifies them. A source whose rule is `linked` makes no customers,
 * one whose rule is `named` looks at no links either.
 *
 * What an event teaches holds for the events after it. Only applied events teach, but for a name that came too late:
 * {@link save} writes the new customers and links.
 */
export class Whose {
  readonly #customers: ReadonlySet<string>;
  readonly #links: Map<string, KnownLink>;
  /** New ids for the provider's customers that are linked with nobody. */
  readonly #strangers = new Map<string, string>();
  readonly #made = new Map<string, { readonly wanted: Wanted; readonly customerId: string }>();
  readonly #learnt = new Map<string, NewLink>();

  private constructor(customers: ReadonlySet<string>, links: Map<string, KnownLink>) {
    this.#customers = customers;
    this.#links = links;
  }

  /** Reads what has to be known to answer for all of these. */
  static async read(tx: Tx, wanted: readonly Wanted[]): Promise<Whose> {
    const customers = new Set<string>();
    const links = new Map<string, KnownLink>();
    for (const [merchantId, own] of byKey(wanted, (one) => one.merchantId)) {
      const named = own.flatMap(({ namedCustomerId }) => namedCustomerId ?? []);
      for (const found of await findCustomers(tx, merchantId, named)) customers.add(keyOf(merchantId, found));
      // In one order for every worker, so that two that meet the same people cannot deadlock.
      for (const [, ofSource] of byKey(own, (one) => one.sourceId)) await readLinks(tx, ofSource, links);
    }
    return new Whose(customers, links);
  }

  find(wanted: Wanted): CustomerResolution {
    const { merchantId, namedCustomerId, rule, provider } = wanted;
    if (namedCustomerId !== null) {
      const isThere = this.#customers.has(keyOf(merchantId, namedCustomerId));
      return isThere ? { customerId: namedCustomerId } : { problem: 'unknown_customer' };
    }
    if (rule === 'named' || provider.id === null) return { problem: 'no_customer' };
    const key = personKey(wanted);
    const linked = this.#links.get(key);
    if (linked !== undefined) return { customerId: linked.customerId, isGuess: linked.cause === 'created' };
    if (rule !== 'create') return { problem: 'no_customer' };
    const customerId = this.#strangers.get(key) ?? newId('customer');
    this.#strangers.set(key, customerId);
    return { customerId, isGuess: true };
  }

  /**
   * The money went to this customer, whom `find` answered.
   * @param isPaid whether the payment has succeeded; else its name teaches nothing yet
   * @returns whether that was news
   */
  learn(wanted: Wanted, customerId: string, isPaid: boolean): boolean {
    const { namedCustomerId, teaches, rule, provider } = wanted;
    if (provider.id === null || rule === 'named') return false;
    const key = personKey(wanted);
    const isNew = this.#strangers.get(key) === customerId;
    if (isNew && !this.#made.has(customerId)) this.#made.set(customerId, { wanted, customerId });
    const cause = isNew ? 'created' : namedCustomerId === null || !isPaid ? null : teaches;
    return cause !== null && this.#link(wanted, customerId, cause);
  }

  /**
   * The name came too late for its payment, but not for those to come: it moves a link that only says that somebody had to
   * be made of the provider's customer.
   */
  learnLate(wanted: Wanted, customerId: string): void {
    const { teaches } = wanted;
    if (teaches !== null && this.#links.get(personKey(wanted))?.cause === 'created') {
      this.#link(wanted, customerId, teaches);
    }
  }

  #link(wanted: Wanted, customerId: string, cause: NewLink['cause']): boolean {
    const { merchantId, sourceId, paymentId, at, provider } = wanted;
    if (provider.id === null) return false;
    const key = personKey(wanted);
    const to: KnownLink = { customerId, cause, namedAt: cause === 'created' ? null : at };
    const link = this.#links.get(key);
    if (link !== undefined && (!givesWay(link, to) || saysTheSame(link, to))) return false;
    this.#links.set(key, to);
    this.#learnt.set(key, { ...to, merchantId, sourceId, providerCustomerId: provider.id, paymentId });
    return link?.customerId !== customerId || link.cause !== cause;
  }

  /** Makes the new customers and writes what was learnt; before anything is posted for them. */
  async save(tx: Tx, opening: WalletOpening): Promise<void> {
    for (const [merchantId, made] of byKey([...this.#made.values()], (one) => one.wanted.merchantId)) {
      const inputs = made.map(({ wanted: { provider }, customerId }) => {
        return { customerId, email: provider.email ?? '', name: provider.name ?? '' };
      });
      await createCustomers(tx, { merchantId, inputs }, opening);
    }
    for (const [, own] of byKey([...this.#learnt.values()], (one) => keyOf(one.merchantId, one.sourceId))) {
      const [source] = own;
      const links = own.map((one) => ({ ...one, createdAt: opening.now }));
      if (source !== undefined) await saveLinks(tx, source, links);
    }
  }
}

/** Reads the links of one source's customers; waits for other workers that may be making the same ones. */
async function readLinks(tx: Tx, wanted: readonly Wanted[], links: Map<string, KnownLink>): Promise<void> {
  const [first] = wanted;
  if (first === undefined) return;
  const asking = wanted.filter((one) => one.rule !== 'named' && one.provider.id !== null);
  const people = new Map(asking.map((one) => [one.provider.id ?? '', personKey(one)]));
  const read = async (ids: readonly string[]) => {
    for (const link of await findLinks(tx, first, ids)) links.set(people.get(link.providerCustomerId) ?? '', link);
  };
  await read([...people.keys()]);
  const strangers = new Set(
    asking.flatMap((one) => {
      const mayBeMade = one.namedCustomerId === null && one.rule === 'create' && !links.has(personKey(one));
      return mayBeMade ? [one.provider.id ?? ''] : [];
    }),
  );
  if (strangers.size === 0) return;
  // Two workers that meet the same stranger at once take turns, so that one customer is made, not two.
  const { merchantId, sourceId } = first;
  await TAKE_TURNS.run(tx, { keys: [...strangers].map((id) => `${merchantId} ${sourceId} ${id}`) });
  await read([...strangers]);
}

/** Whether nothing would be written but who said it again. A replay is to bring a link back that was erased, whatever it was. */
function saysTheSame(link: KnownLink, to: KnownLink): boolean {
  const isOf = link.customerId === to.customerId && link.cause === to.cause;
  return isOf && to.cause !== 'replay' && link.namedAt?.getTime() === to.namedAt?.getTime();
}

function byKey<One>(all: readonly One[], key: (one: One) => string): [string, One[]][] {
  return [...Map.groupBy(all, key)].sort(([a], [b]) => (a < b ? -1 : 1));
}

function keyOf(...ids: readonly string[]): string {
  return ids.join('\0');
}

function personKey({ merchantId, sourceId, provider }: Wanted): string {
  return keyOf(merchantId, sourceId, provider.id ?? '');
}

const TAKE_TURNS = statement({
  params: { keys: array(text) },
  text: ({ keys }) => `
    select pg_advisory_xact_lock(hashtextextended(key, 0))
    from (select key from unnest(${keys}::text[]) as key order by key offset 0) as sorted`,
});
