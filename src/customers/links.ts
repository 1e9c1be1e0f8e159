import { array, bigint, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, omit, table } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { refuse } from '../errors.ts';

/** Why a provider's customer is linked with one of ours; migration 0019 says what each means. */
export const LINK_CAUSES = ['payment', 'order', 'subscription', 'replay', 'operator', 'created', 'before'] as const;

type LinkCause = (typeof LINK_CAUSES)[number];

export interface LinkKey {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly providerCustomerId: string;
}

/** The provider's customer, as one source names it, is this customer of ours. */
export interface CustomerLink extends LinkKey {
  readonly customerId: string;
  readonly cause: LinkCause;
  /** The payment that made or moved it; null where none did. */
  readonly paymentId: string | null;
  /** The provider's time of that payment, where it named the customer. */
  readonly namedAt: Date | null;
  /** When it was made or moved. */
  readonly createdAt: Date;
}

const LINK = table('customer_link', {
  merchantId: text,
  sourceId: text,
  providerCustomerId: text,
  customerId: text,
  cause: oneOf<LinkCause>(),
  paymentId: nullable(text),
  namedAt: nullable(timestamptz),
  createdAt: timestamptz,
});
const OWN_LINK = omit(LINK.shape, 'merchantId', 'sourceId');
const CHANGING = omit(OWN_LINK, 'providerCustomerId');

/**
 * Whether a link gives way to another one. What an operator decided moves any link; the name that a payment carries moves
 * what no operator set and no newer payment named; that a customer was made moves nothing.
 */
export function givesWay(link: Pick<CustomerLink, 'cause' | 'namedAt'>, to: Pick<CustomerLink, 'cause' | 'namedAt'>) {
  if (to.cause === 'operator' || to.cause === 'replay') return true;
  if (to.cause === 'created' || to.cause === 'before' || link.cause === 'operator') return false;
  return link.namedAt === null || to.namedAt === null || to.namedAt >= link.namedAt;
}

/** {@link givesWay} in SQL, for the links of `l` as they are at the moment of writing. */
const GIVES_WAY = `excluded.cause in ('operator', 'replay')
  or (excluded.cause not in ('created', 'before') and l.cause <> 'operator'
    and (l.named_at is null or excluded.named_at is null or excluded.named_at >= l.named_at))`;

/** SQL for the hash by which a provider's customer is known whose link was erased. */
export const erasedHashSql = (merchantId: string, providerCustomerId: string) =>
  `sha256(convert_to(${merchantId}, 'UTF8') || '\\x00'::bytea || convert_to(${providerCustomerId}, 'UTF8'))`;

/** The links that these customers of the provider have at a source, erased ones too; those without a link are missing. */
export async function findLinks(
  db: Queryable,
  { merchantId, sourceId }: Pick<LinkKey, 'merchantId' | 'sourceId'>,
  providerCustomerIds: readonly string[],
): Promise<CustomerLink[]> {
  return providerCustomerIds.length === 0 ? [] : FIND_LINKS.all(db, { merchantId, sourceId, providerCustomerIds });
}

const FIND_LINKS = statement({
  name: 'find-links',
  params: { merchantId: text, sourceId: text, providerCustomerIds: array(text) },
  row: LINK.shape,
  text: ({ merchantId, sourceId, providerCustomerIds }) => `
    select ${columns(LINK.shape)} from customer_link
    where merchant_id = ${merchantId} and source_id = ${sourceId} and provider_customer_id = any (${providerCustomerIds})
    union all
    select r.merchant_id, r.source_id, named.id, r.customer_id, r.cause, null, r.named_at, r.created_at
    from unnest(${providerCustomerIds}) as named (id)
    cross join lateral (
      select * from erased_link r
      where r.merchant_id = ${merchantId} and r.source_id = ${sourceId}
        and r.provider_customer_hash = ${erasedHashSql(merchantId, 'named.id')} offset 0) r
    where not exists (
      select from customer_link l
      where l.merchant_id = ${merchantId} and l.source_id = ${sourceId} and l.provider_customer_id = named.id offset 0)`,
});

/**
 * Makes links of one source, or moves those that give way; in one order, so that two writers cannot deadlock. A link that was erased is
 * not made again, unless somebody asks for it or it leads to another customer.
 */
export async function saveLinks(
  db: Queryable,
  { merchantId, sourceId }: Pick<LinkKey, 'merchantId' | 'sourceId'>,
  links: readonly Omit<CustomerLink, 'merchantId' | 'sourceId'>[],
): Promise<void> {
  if (links.length > 0) await SAVE_LINKS.run(db, { merchantId, sourceId, links });
}

const SAVE_LINKS = statement({
  name: 'save-links',
  params: { merchantId: text, sourceId: text, links: rowsOf(OWN_LINK) },
  text: ({ merchantId, sourceId, links }) => `
    with named as materialized (
      select n.* from ${links('n')}
      where n.cause in ('operator', 'replay') or not exists (
        select from erased_link r
        where r.merchant_id = ${merchantId} and r.source_id = ${sourceId} and r.customer_id = n.customer_id
          and r.provider_customer_hash = ${erasedHashSql(merchantId, 'n.provider_customer_id')} offset 0)),
    saved as (
      insert into customer_link as l (merchant_id, source_id, ${columns(OWN_LINK)})
      select ${merchantId}, ${sourceId}, ${columns(OWN_LINK, 'n')} from named n
      order by 3
      on conflict (merchant_id, source_id, provider_customer_id) do update
      set ${assignments(CHANGING, 'excluded')}
      where ${GIVES_WAY}
      returning 1)
    select 1 from saved`,
});

interface LinkQuery {
  readonly merchantId: string;
  readonly customerId: string;
  /** Only links that come after this one of the customer, and none if it has no such link; null for all. */
  readonly after?: Pick<LinkKey, 'sourceId' | 'providerCustomerId'> | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of a customer's links, oldest first. */
export async function linksOfCustomer(db: Queryable, query: LinkQuery): Promise<CustomerLink[]> {
  const { after, pageSize, pageNumber, ...customer } = query;
  const afterSource = after?.sourceId ?? null;
  const page = { afterSource, afterId: after?.providerCustomerId ?? null, pageSize, offset: pageSize * pageNumber };
  return LINKS_OF_CUSTOMER.all(db, { ...customer, ...page });
}

const LINKS_OF_CUSTOMER = statement({
  params: {
    ...{ merchantId: text, customerId: text, afterSource: nullable(text), afterId: nullable(text) },
    ...{ pageSize: bigint, offset: bigint },
  },
  row: LINK.shape,
  text: (p) => `
    select ${columns(LINK.shape)} from customer_link
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId}
      and (${p.afterId}::text is null or (created_at, source_id, provider_customer_id) > (
        select c.created_at, c.source_id, c.provider_customer_id from customer_link c
        where c.merchant_id = ${p.merchantId} and c.source_id = ${p.afterSource} and c.provider_customer_id = ${p.afterId}
          and c.customer_id = ${p.customerId}))
    order by created_at, source_id, provider_customer_id
    limit ${p.pageSize} offset ${p.offset}`,
});

/** Whether the customer is linked so, where everybody can see it. */
export async function isLinked(db: Queryable, link: LinkedCustomer): Promise<boolean> {
  return (await IS_LINKED.first(db, link)) !== null;
}

const IS_LINKED = statement({
  params: { merchantId: text, sourceId: text, providerCustomerId: text, customerId: text },
  row: { customerId: text },
  text: ({ merchantId, sourceId, providerCustomerId, customerId }) => `
    select customer_id from customer_link
    where merchant_id = ${merchantId} and source_id = ${sourceId} and provider_customer_id = ${providerCustomerId}
      and customer_id = ${customerId}`,
});

type LinkedCustomer = LinkKey & Pick<CustomerLink, 'customerId'>;

/** Sets a link by hand. It replaces the link that the provider's customer had before. */
export async function setLink(db: Queryable, link: LinkedCustomer, now: Date): Promise<CustomerLink> {
  const made = { ...link, cause: 'operator', paymentId: null, namedAt: null, createdAt: now } as const;
  await saveLinks(db, link, [made]);
  await FORGET_ERASED.run(db, link);
  return made;
}

const KEY = { merchantId: text, sourceId: text, providerCustomerId: text };

/** What a person says replaces a link that was erased, too: hidden behind the new one, it would come back with its end. */
const FORGET_ERASED = statement({
  params: KEY,
  text: ({ merchantId, sourceId, providerCustomerId }) => `
    delete from erased_link
    where merchant_id = ${merchantId} and source_id = ${sourceId}
      and provider_customer_hash = ${erasedHashSql(merchantId, providerCustomerId)}`,
});

/**
 * Removes a link, and with it an erased one that it had replaced: the provider's customer is nobody's then.
 * @throws {RefusalError} NO_SUCH_LINK if this customer is not linked so
 */
export async function removeLink(db: Queryable, link: LinkedCustomer): Promise<void> {
  if ((await REMOVE_LINK.run(db, link)) === 0) refuse({ code: 'NO_SUCH_LINK' });
}

const REMOVE_LINK = statement({
  params: { ...KEY, customerId: text },
  text: ({ merchantId, sourceId, providerCustomerId, customerId }) => `
    with removed as (
      delete from customer_link
      where merchant_id = ${merchantId} and source_id = ${sourceId} and provider_customer_id = ${providerCustomerId}
        and customer_id = ${customerId}
      returning 1),
    forgotten as (
      delete from erased_link
      where merchant_id = ${merchantId} and source_id = ${sourceId}
        and provider_customer_hash = ${erasedHashSql(merchantId, providerCustomerId)} and exists (select from removed))
    select from removed`,
});
