import { z } from 'zod';
import {
  type ConnectProviderApi,
  type Listed,
  type ListedKind,
  type Page,
  ProviderApiError,
  type Window,
} from './api.ts';
import { JsonClient } from './json-client.ts';
import { apiTime, bodyOf, isBefore, isWithin, keyParts, pageOf } from './listing.ts';

/*
 * | kind    | route             | listed                                                          | event                 |
 * |---------|-------------------|-----------------------------------------------------------------|-----------------------|
 * | payment | GET /transactions | completed ones; Paddle itself keeps to the window               | transaction.completed |
 * | refund  | GET /adjustments  | refunds                                                         | adjustment.updated    |
 * | dispute | GET /adjustments  | reversals of chargebacks and of their warnings, and of these    | adjustment.updated    |
 * |         |                   | what is not reversed since                                      |                       |
 *
 * Only transactions can be asked for by a time. Adjustments are read from the newest back to the window's start, for
 * Paddle's ids sort by creation (developer.paddle.com, "Filter and sort"). Credits move no money and are not asked for.
 * A chargeback stays as it is when another adjustment reverses it. The adapter reads the chargebacks of a transaction as
 * one dispute, so the older news would contradict the newer; it is left out here. The cursor is the id of the last
 * object read, as the `next` of Paddle's answers has it.
 */

const NAME = 'paddle';

/** Paddle gives fewer where its own limit is lower. */
const PAGE_SIZE = 100;

/** Keys of before 2025 are bare hexadecimal; the newer ones name the environment they open. */
const KEY_FORMS = {
  live: /^(?!pdl_sdbx_)(\w{20,200})$/,
  test: /^(?!pdl_live_)(\w{20,200})$/,
} as const;

const BASE_URLS = { live: 'https://api.paddle.com', test: 'https://sandbox-api.paddle.com' } as const;

const TRANSACTION = z.looseObject({ id: z.string(), status: z.string(), updated_at: apiTime });
const ADJUSTMENT = z.looseObject({
  id: z.string(),
  transaction_id: z.string(),
  action: z.string(),
  status: z.string(),
  created_at: apiTime,
  updated_at: apiTime,
});
type Adjustment = z.infer<typeof ADJUSTMENT>;

const pageSchema = <Item extends z.ZodType>(item: Item) =>
  z.object({
    data: z.array(item),
    meta: z.object({ pagination: z.object({ has_more: z.boolean(), next: z.url() }) }),
  });

const TRANSACTIONS = pageSchema(TRANSACTION);
const ADJUSTMENTS = pageSchema(ADJUSTMENT);
const ONE_TRANSACTION = z.object({ data: TRANSACTION });

const ACTIONS = {
  refund: 'refund',
  dispute: 'chargeback,chargeback_reverse,chargeback_warning,chargeback_warning_reverse',
} as const satisfies Record<Exclude<ListedKind, 'payment'>, string>;

const REVERSALS: ReadonlyMap<string, string> = new Map([
  ['chargeback', 'chargeback_reverse'],
  ['chargeback_warning', 'chargeback_warning_reverse'],
]);

/** Whether a later one of `reversals` takes the adjustment back. */
function isReversed(adjustment: Adjustment, reversals: readonly Adjustment[]): boolean {
  return reversals.some(
    ({ id, transaction_id, action }) =>
      action === REVERSALS.get(adjustment.action) && transaction_id === adjustment.transaction_id && id > adjustment.id,
  );
}

function listedTransaction(transaction: z.infer<typeof TRANSACTION>): Listed {
  const { id, status } = transaction;
  // Every status has the event of its name but for the first, in which a transaction is created.
  const eventType = `transaction.${status === 'draft' ? 'created' : status}`;
  const body = bodyOf({ event_type: eventType, occurred_at: transaction.updated_at, data: transaction });
  return { kind: 'payment', objectId: id, state: status, body };
}

function listedAdjustment(kind: ListedKind, adjustment: Adjustment): Listed {
  const { id, status } = adjustment;
  const body = bodyOf({ event_type: 'adjustment.updated', occurred_at: adjustment.updated_at, data: adjustment });
  return { kind, objectId: id, state: status, body };
}

/** Only the cursor is taken of the address: the key goes nowhere but where it was configured for. */
function nextOf({ has_more: hasMore, next }: { has_more: boolean; next: string }): string | null {
  if (!hasMore) return null;
  const after = new URL(next).searchParams.get('after');
  if (after === null) throw new ProviderApiError('refused', `${NAME} does not say where the next page begins`);
  return after;
}

/** Paddle Billing, by its HTTP API. */
export const connectPaddle: ConnectProviderApi = ({ apiKey, mode, baseUrl = BASE_URLS[mode] }) => {
  const [key] = keyParts(NAME, apiKey, KEY_FORMS[mode]);
  const client = new JsonClient({
    provider: NAME,
    baseUrl,
    headers: { authorization: `Bearer ${key}`, 'paddle-version': '1' },
  });

  async function listTransactions(window: Window, cursor: string | null): Promise<Page> {
    const query = new URLSearchParams({
      status: 'completed',
      'created_at[GTE]': window.since.toISOString(),
      'created_at[LT]': window.until.toISOString(),
      order_by: 'id[ASC]',
      per_page: String(PAGE_SIZE),
      ...(cursor === null ? {} : { after: cursor }),
    });
    const { data, meta } = pageOf(NAME, await client.get(`/transactions?${query}`, TRANSACTIONS));
    return { listed: data.map(listedTransaction), next: nextOf(meta.pagination) };
  }

  async function listAdjustments(kind: keyof typeof ACTIONS, window: Window, cursor: string | null): Promise<Page> {
    const query = new URLSearchParams({
      action: ACTIONS[kind],
      order_by: 'id[DESC]',
      per_page: String(PAGE_SIZE),
      ...(cursor === null ? {} : { after: cursor }),
    });
    const { data, meta } = pageOf(NAME, await client.get(`/adjustments?${query}`, ADJUSTMENTS));
    const inWindow = data.filter(({ created_at }) => isWithin(created_at, window));
    const reversals = await reversalsOf(inWindow.filter(({ action }) => REVERSALS.has(action)));
    const listed = inWindow.filter((adjustment) => !isReversed(adjustment, reversals));
    const isPastWindow = data.some(({ created_at }) => isBefore(created_at, window.since));
    return {
      listed: listed.map((adjustment) => listedAdjustment(kind, adjustment)),
      next: isPastWindow ? null : nextOf(meta.pagination),
    };
  }

  /** The approved reversals of these chargebacks' transactions: a page is enough, as one seldom has two. */
  async function reversalsOf(chargebacks: readonly Adjustment[]): Promise<readonly Adjustment[]> {
    if (chargebacks.length === 0) return [];
    const query = new URLSearchParams({
      transaction_id: [...new Set(chargebacks.map(({ transaction_id }) => transaction_id))].join(','),
      action: [...REVERSALS.values()].join(','),
      status: 'approved',
      order_by: 'id[DESC]',
      per_page: String(PAGE_SIZE),
    });
    return pageOf(NAME, await client.get(`/adjustments?${query}`, ADJUSTMENTS)).data;
  }

  return {
    kinds: ['payment', 'refund', 'dispute'],
    list: (kind, window, cursor) =>
      kind === 'payment' ? listTransactions(window, cursor) : listAdjustments(kind, window, cursor),
    async retrievePayment(paymentId) {
      if (!/^txn_\w+$/.test(paymentId)) return null;
      const found = await client.get(`/transactions/${paymentId}`, ONE_TRANSACTION);
      return found === null ? null : listedTransaction(found.data);
    },
  };
};
