import type { Queryable } from '../db/transaction.ts';
import { CONTRA_ACCOUNTS, EVENT_TYPES } from '../ledger/entry.ts';

/** One place where the books disagree with themselves. */
export interface Disagreement {
  /** The invariant's number and name in README.md. */
  readonly rule: string;
  readonly subject: string;
  readonly detail: string;
}

export interface AuditReport {
  readonly balances: readonly {
    merchantId: string;
    currency: string;
    wallets: number;
    entries: number;
    balance: number;
  }[];
  /** What each contra account gave to wallets (credit) and took back (debit). */
  readonly trialBalance: readonly {
    merchantId: string;
    currency: string;
    account: string;
    credit: number;
    debit: number;
  }[];
  readonly disagreements: readonly Disagreement[];
}

/** More than this many of one kind say nothing new. */
const MAX_PER_RULE = 20;

interface Check {
  readonly rule: string;
  /** Selects `subject` and `detail` of every disagreement. One statement, so that it sees one moment of live books. */
  readonly sql: string;
}

const WALLET_NAME = "format('%s/%s/%s', w.merchant_id, w.customer_id, w.currency)";
const SIGNED = 'case when e.is_credit then e.amount else -e.amount end';

const CHECKS: readonly Check[] = [
  {
    rule: '1 conservation',
    sql: `select format('%s/%s', merchant_id, currency) as subject, format('wallets hold %s, entries sum to %s', held, given) as detail
      from (select merchant_id, currency, sum(balance) as held from wallet group by 1, 2) w
      full join (select merchant_id, currency, sum(${SIGNED}) as given from entry e group by 1, 2) e using (merchant_id, currency)
      where coalesce(held, 0) <> coalesce(given, 0)`,
  },
  {
    rule: '2 agreement',
    sql: `select ${WALLET_NAME} as subject, format('balance %s, entries sum to %s; version %s, entries %s', w.balance, coalesce(e.total, 0), w.version, coalesce(e.entries, 0)) as detail
      from wallet w
      full join (select merchant_id, customer_id, currency, sum(${SIGNED}) as total, count(*) as entries from entry e group by 1, 2, 3) e
        using (merchant_id, customer_id, currency)
      where w.balance is distinct from coalesce(e.total, 0) or w.version is distinct from coalesce(e.entries, 0)`,
  },
  {
    rule: '3 chain',
    sql: `select format('%s/%s/%s entry %s', merchant_id, customer_id, currency, seq) as subject,
        format('before %s, the one before it ended with %s at %s', before_balance, previous_after, previous_seq) as detail
      from (select e.*, lag(after_balance) over chain as previous_after, lag(seq) over chain as previous_seq, lag(created_at) over chain as previous_at
        from entry e window chain as (partition by merchant_id, customer_id, currency order by seq)) e
      where before_balance <> coalesce(previous_after, 0) or seq <> coalesce(previous_seq, 0) + 1 or created_at < previous_at
        or after_balance <> before_balance + ${SIGNED}`,
  },
  {
    rule: '4 no overdraft',
    sql: `select format('%s/%s/%s entry %s', merchant_id, customer_id, currency, seq) as subject,
        format('%s left %s', event_type, after_balance) as detail
      from entry e
      where after_balance < 0 and not is_credit and event_type not in ('payment_reversal', 'refund_reversal', 'dispute')`,
  },
  {
    rule: '5 once: a payment has the entries it says it has',
    sql: `select format('%s/%s/%s', p.merchant_id, p.source_id, p.payment_id) as subject,
        format('%s: posted %s in %s entries, found %s in %s', p.base, p.posted, p.postings, coalesce(sum(${SIGNED}), 0), count(e.seq)) as detail
      from (
        select merchant_id, source_id, payment_id, customer_id, 'payment_' || payment_id as base, posted_credit as posted, postings from payment
        union all
        select t.merchant_id, t.source_id, t.payment_id, q.customer_id, t.kind || '_' || t.payment_id || '_' || t.part_id, t.posted_credit - t.posted_take, t.postings
        from payment_part t join payment q using (merchant_id, source_id, payment_id)) p
      left join lateral generate_series(1, p.postings) as n on true
      left join entry e on e.merchant_id = p.merchant_id and e.customer_id = p.customer_id
        and e.idempotency_key = p.source_id || ':' || p.base || case when n = 1 then '' else '#' || n end
      group by p.merchant_id, p.source_id, p.payment_id, p.base, p.posted, p.postings
      having coalesce(sum(${SIGNED}), 0) <> p.posted or count(e.seq) <> p.postings`,
  },
  {
    rule: '5 once: no entry claims a payment that does not know it',
    sql: `select format('%s/%s', merchant_id, customer_id) as subject, format('%s entries by payments, which know of %s', coalesce(found, 0), coalesce(known, 0)) as detail
      from (select merchant_id, customer_id, count(*) as found from entry where event_type <> 'merchant_adjustment' group by 1, 2) e
      full join (
        select merchant_id, customer_id, sum(postings) as known
        from (select merchant_id, customer_id, postings from payment
          union all select merchant_id, customer_id, t.postings from payment_part t join payment using (merchant_id, source_id, payment_id)) p
        where customer_id is not null group by 1, 2) p using (merchant_id, customer_id)
      where coalesce(found, 0) <> coalesce(known, 0)`,
  },
  {
    rule: '6 immutability',
    sql: `select t.name as subject, 'the trigger that keeps it insert-only is gone or off' as detail
      from (values ('entry'), ('wallet_alert')) as t (name)
      where not exists (select 1 from pg_trigger g where g.tgrelid = t.name::regclass and g.tgname = t.name || '_is_insert_only' and g.tgenabled in ('O', 'A'))`,
  },
  {
    rule: '7 announced: what is not told is on the list',
    sql: `select ${WALLET_NAME} as subject, format('announced %s of %s entries and %s of %s alerts, and not on the list', w.announced_version, w.version, w.announced_alert_seq, w.alert_seq) as detail
      from wallet w
      left join unannounced_wallet u using (merchant_id, customer_id, currency)
      where (w.announced_version < w.version or w.announced_alert_seq < w.alert_seq) and u.merchant_id is null`,
  },
  {
    rule: '7 announced: alerts are numbered',
    sql: `select ${WALLET_NAME} as subject, format('alert number %s, alerts %s', w.alert_seq, coalesce(a.alerts, 0)) as detail
      from wallet w
      left join (select merchant_id, customer_id, currency, count(*) as alerts, max(alert_seq) as last from wallet_alert group by 1, 2, 3) a using (merchant_id, customer_id, currency)
      where w.alert_seq <> coalesce(a.alerts, 0) or w.alert_seq <> coalesce(a.last, 0)`,
  },
  {
    rule: '2 agreement: every customer has a wallet',
    sql: `select format('%s/%s', c.merchant_id, c.customer_id) as subject, 'the customer has no wallet' as detail
      from customer c where not exists (select 1 from wallet w where w.merchant_id = c.merchant_id and w.customer_id = c.customer_id)`,
  },
];

/**
 * Recomputes everything the ledger claims and names every disagreement. Each check is one statement, so it is right on
 * live books too. It reads every entry: give it a connection without a statement timeout when the books are large.
 */
export async function audit(db: Queryable): Promise<AuditReport> {
  const disagreements: Disagreement[] = [];
  for (const { rule, sql } of CHECKS) {
    const { rows } = await db.query<{ subject: string; detail: string }>(`${sql} limit ${MAX_PER_RULE}`);
    disagreements.push(...rows.map((row) => ({ rule, subject: row.subject, detail: row.detail })));
  }
  return { balances: await readBalances(db), trialBalance: await readTrialBalance(db), disagreements };
}

async function readBalances(db: Queryable): Promise<AuditReport['balances']> {
  const { rows } = await db.query<{
    merchant_id: string;
    currency: string;
    wallets: number;
    entries: string;
    balance: string;
  }>(
    `select merchant_id, currency, count(*) as wallets, sum(version) as entries, sum(balance) as balance
     from wallet group by 1, 2 order by 1, 2`,
  );
  return rows.map((row) => ({
    merchantId: row.merchant_id,
    currency: row.currency,
    wallets: row.wallets,
    entries: Number(row.entries),
    balance: Number(row.balance),
  }));
}

async function readTrialBalance(db: Queryable): Promise<AuditReport['trialBalance']> {
  const { rows } = await db.query<{
    merchant_id: string;
    currency: string;
    account: string;
    credit: string;
    debit: string;
  }>(
    `select merchant_id, currency, c.account,
       coalesce(sum(amount) filter (where is_credit), 0) as credit, coalesce(sum(amount) filter (where not is_credit), 0) as debit
     from entry join unnest($1::text[], $2::text[]) as c (event_type, account) using (event_type)
     group by 1, 2, 3 order by 1, 2, 3`,
    [EVENT_TYPES, EVENT_TYPES.map((type) => CONTRA_ACCOUNTS[type])],
  );
  return rows.map((row) => ({
    merchantId: row.merchant_id,
    currency: row.currency,
    account: row.account,
    credit: Number(row.credit),
    debit: Number(row.debit),
  }));
}
