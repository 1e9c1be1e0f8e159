import { z } from 'zod';
import {
  type ConnectProviderApi,
  type Listed,
  type ListedKind,
  type Page,
  ProviderApiError,
  type Window,
} from '../shared/api.ts';
import { JsonClient } from '../shared/json-client.ts';
import { apiTime, bodyOf, isBefore, isWithin, keyParts, requireList } from '../shared/listing.ts';
import { PageMemo, pageKey } from '../shared/page-memo.ts';

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
 * object read, as the `next` of Paddle's answers has it. A transaction asked for by its id may be `past_due` as well.
 */

const NAME = 'paddle';

/** Paddle's maxima, by its OpenAPI description. */
const PAGE_SIZES = { transactions: 30, adjustments: 50 } as const;

/** Keys from before 2025 are only hexadecimal digits; newer ones name their environment. */
const KEY_FORMS = {
  live: /^(?!pdl_sdbx_)(\w{20,})$/,
  test: /^(?!pdl_live_)(\w{20,})$/,
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
type Adjustments = z.infer<typeof ADJUSTMENTS>;
const ONE_TRANSACTION = z.object({ data: TRANSACTION });

/** Paddle lists adjustments of one action or of all actions, so disputes, which have several, are found among all. */
const ACTIONS = {
  refund: { asked: { action: 'refund' }, listed: new Set(['refund']) },
  dispute: {
    asked: {},
    listed: new Set(['chargeback', 'chargeback_reverse', 'chargeback_warning', 'chargeback_warning_reverse']),
  },
} as const satisfies Record<Exclude<ListedKind, 'payment'>, { asked: Record<string, string>; listed: Set<string> }>;

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

/** The statuses whose events tell of money or of a failed payment. The event has the name of the status. */
const STATUSES_WITH_EVENTS: ReadonlySet<string> = new Set(['completed', 'past_due']);

function listedTransaction(transaction: z.infer<typeof TRANSACTION>): Listed {
  const { id, status, updated_at } = transaction;
  const body = bodyOf({ event_type: `transaction.${status}`, occurred_at: updated_at, data: transaction });
  return { kind: 'payment', objectId: id, state: status, body };
}

function listedAdjustment(kind: ListedKind, adjustment: Adjustment): Listed {
  const { id, status } = adjustment;
  const body = bodyOf({ event_type: 'adjustment.updated', occurred_at: adjustment.updated_at, data: adjustment });
  return { kind, objectId: id, state: status, body };
}

type Filter = Readonly<Record<string, string>>;

function pageQuery(route: keyof typeof PAGE_SIZES, after: string | null, filter: Filter): URLSearchParams {
  const order_by = route === 'transactions' ? 'id[ASC]' : 'id[DESC]';
  const from = after === null ? {} : { after };
  return new URLSearchParams({ ...filter, order_by, per_page: String(PAGE_SIZES[route]), ...from });
}

/** Only the cursor is taken from the address that Paddle gives, so that the key is sent to no other address. */
function nextOf({ has_more: hasMore, next }: { has_more: boolean; next: string }): string | null {
  if (!hasMore) return null;
  const after = new URL(next).searchParams.get('after');
  if (after === null) throw new ProviderApiError('refused', `${NAME} does not say where the next page begins`);
  return after;
}

/** The most pages of reversals for one page of chargebacks; usually one is enough. */
const MAX_REVERSAL_PAGES = 20;

/** The approved reversals, by the one action, of the adjustments' transactions. */
async function reversalsOf(
  adjustments: readonly Adjustment[],
  action: string,
  ask: (query: URLSearchParams) => Promise<Adjustments>,
): Promise<readonly Adjustment[]> {
  if (adjustments.length === 0) return [];
  const transactions = new Set(adjustments.map(({ transaction_id }) => transaction_id));
  const filter = { transaction_id: [...transactions].join(','), action, status: 'approved' };
  const found: Adjustment[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MAX_REVERSAL_PAGES; page += 1) {
    const { data, meta }: Adjustments = await ask(pageQuery('adjustments', cursor, filter));
    found.push(...data);
    cursor = nextOf(meta.pagination);
    if (cursor === null) return found;
  }
  throw new ProviderApiError('refused', `${NAME} lists reversals without an end`);
}

/** Paddle Billing, by its HTTP API. */
export const connectPaddle: ConnectProviderApi = ({ apiKey, mode, baseUrl = BASE_URLS[mode], timeoutMs }) => {
  const [key] = keyParts(apiKey, { provider: NAME, form: KEY_FORMS[mode] });
  const headers = { authorization: `Bearer ${key}`, 'paddle-version': '1' };
  const client = new JsonClient({ provider: NAME, baseUrl, headers, timeoutMs });
  const memo = new PageMemo<Adjustments, readonly Adjustment[]>();

  async function listTransactions(window: Window, cursor: string | null): Promise<Page> {
    const query = pageQuery('transactions', cursor, {
      status: 'completed',
      'created_at[GTE]': window.since.toISOString(),
      'created_at[LT]': window.until.toISOString(),
    });
    const { data, meta } = requireList(NAME, await client.get(`/transactions?${query}`, TRANSACTIONS));
    return { listed: data.map(listedTransaction), next: nextOf(meta.pagination) };
  }

  async function listAdjustments(kind: keyof typeof ACTIONS, window: Window, cursor: string | null): Promise<Page> {
    const { asked, listed: actions } = ACTIONS[kind];
    const list = () => adjustmentsBy(pageQuery('adjustments', cursor, asked));
    return memo.read(pageKey(kind, window, cursor), list, async ({ data, meta }, once) => {
      const inWindow = data.filter(({ action, created_at }) => actions.has(action) && isWithin(created_at, window));
      const reversals: Adjustment[] = [];
      for (const [action, reversal] of REVERSALS) {
        const taken = inWindow.filter((one) => one.action === action);
        reversals.push(...(await once(reversal, () => reversalsOf(taken, reversal, adjustmentsBy))));
      }
      const listed = inWindow.filter((adjustment) => !isReversed(adjustment, reversals));
      const isPastWindow = data.some(({ created_at }) => isBefore(created_at, window.since));
      return {
        listed: listed.map((adjustment) => listedAdjustment(kind, adjustment)),
        next: isPastWindow ? null : nextOf(meta.pagination),
      };
    });
  }

  async function adjustmentsBy(query: URLSearchParams): Promise<Adjustments> {
    return requireList(NAME, await client.get(`/adjustments?${query}`, ADJUSTMENTS));
  }

  async function retrieveTransaction(id: string): Promise<Listed | null> {
    if (!/^txn_\w+$/.test(id)) return null;
    const found = await client.get(`/transactions/${id}`, ONE_TRANSACTION);
    return found !== null && STATUSES_WITH_EVENTS.has(found.data.status) ? listedTransaction(found.data) : null;
  }

  /** Finds one adjustment in a list, since Paddle has no route for a single one. */
  async function retrieveAdjustment(kind: keyof typeof ACTIONS, id: string): Promise<Listed | null> {
    if (!/^adj_\w+$/.test(id)) return null;
    const { data } = await adjustmentsBy(new URLSearchParams({ id }));
    const found = data.find((one) => one.id === id);
    if (found === undefined || !ACTIONS[kind].listed.has(found.action)) return null;
    const reversal = REVERSALS.get(found.action);
    if (reversal !== undefined && isReversed(found, await reversalsOf([found], reversal, adjustmentsBy))) return null;
    return listedAdjustment(kind, found);
  }

  return {
    kinds: ['payment', 'refund', 'dispute'],
    list: (kind, window, cursor) =>
      kind === 'payment' ? listTransactions(window, cursor) : listAdjustments(kind, window, cursor),
    retrieve: (kind, objectId) =>
      kind === 'payment' ? retrieveTransaction(objectId) : retrieveAdjustment(kind, objectId),
  };
};
