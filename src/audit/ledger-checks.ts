import { statement } from '../db/statement.ts';
import { MAY_OVERDRAW } from '../ledger/entry.ts';
import { type Check, first, type HistoryCheck, SIGNED, WALLET_NAME } from './check.ts';

const MAY_LEAVE_A_DEBT = [...MAY_OVERDRAW].map((type) => `'${type}'`).join(', ');

/** Rules 1 to 4 as they are proved by reading every entry. What is new is judged by them where it is followed (walk.ts). */
export const ENTRY_SCANS: readonly [HistoryCheck, ...HistoryCheck[]] = [
  {
    rule: '1 conservation',
    find: statement(
      first(`select format('%s/%s', merchant_id, currency) as subject, format('wallets hold %s, entries sum to %s', held, given) as detail
      from (select merchant_id, currency, sum(balance) as held from wallet group by 1, 2) w
      full join (select merchant_id, currency, sum(${SIGNED}) as given from entry e group by 1, 2) e using (merchant_id, currency)
      where coalesce(held, 0) <> coalesce(given, 0)`),
    ),
    findSince: null,
  },
  {
    rule: '2 agreement',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('balance %s, entries sum to %s; version %s, entries %s', w.balance, coalesce(e.total, 0), w.version, coalesce(e.entries, 0)) as detail
      from wallet w
      full join (select merchant_id, customer_id, currency, sum(${SIGNED}) as total, count(*) as entries from entry e group by 1, 2, 3) e
        using (merchant_id, customer_id, currency)
      where w.balance is distinct from coalesce(e.total, 0) or w.version is distinct from coalesce(e.entries, 0)`),
    ),
    findSince: null,
  },
  {
    rule: '3 chain',
    find: statement(
      first(`select format('%s/%s/%s entry %s', merchant_id, customer_id, currency, seq) as subject,
        format('before %s, the one before it ended with %s at %s', before_balance, previous_after, previous_seq) as detail
      from (select e.*, lag(after_balance) over chain as previous_after, lag(seq) over chain as previous_seq, lag(created_at) over chain as previous_at
        from entry e window chain as (partition by merchant_id, customer_id, currency order by seq)) e
      where before_balance <> coalesce(previous_after, 0) or seq <> coalesce(previous_seq, 0) + 1 or created_at < previous_at
        or after_balance <> before_balance + ${SIGNED}`),
    ),
    findSince: null,
  },
  {
    rule: '4 no overdraft',
    find: statement(
      first(`select format('%s/%s/%s entry %s', merchant_id, customer_id, currency, seq) as subject,
        format('%s left %s', event_type, after_balance) as detail
      from entry e
      where after_balance < 0 and not is_credit and event_type not in (${MAY_LEAVE_A_DEBT})`),
    ),
    findSince: null,
  },
];

/** What is left of them. */
export const LEDGER_CHECKS: readonly Check[] = [
  {
    rule: '2 agreement: every customer has a wallet',
    find: statement(
      first(`select format('%s/%s', c.merchant_id, c.customer_id) as subject, 'the customer has no wallet' as detail
      from customer c where not exists (select 1 from wallet w where w.merchant_id = c.merchant_id and w.customer_id = c.customer_id)`),
    ),
  },
  {
    rule: '3 chain: a wallet was last changed by its newest entry',
    find: statement(
      first(`select ${WALLET_NAME} as subject, format('changed at %s, its newest entry is of %s', w.updated_at, coalesce(e.created_at, w.created_at)) as detail
      from wallet w
      left join entry e on e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency and e.seq = w.version
      where w.updated_at <> coalesce(e.created_at, w.created_at)`),
    ),
  },
];
