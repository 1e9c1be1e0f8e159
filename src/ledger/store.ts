import type { Queryable, Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { type Entry, type Posting, type Wallet, type WalletAlert, type WalletKey, walletKeyText } from './entry.ts';
import type { LowBalanceRule } from './low-balance/rule.ts';
import { idempotencyText, type Outcome, type PostResult, post } from './post.ts';
import { ENTRY_COLUMNS, type EntryRow, toEntry, toWallet, WALLET_COLUMNS, type WalletRow } from './rows.ts';

/** What the ledger must know besides its rows. */
export interface LedgerSettings {
  /** The currencies that have wallets. */
  readonly currencies: ReadonlySet<string>;
  readonly rule: LowBalanceRule;
}

/**
 * The one door to the ledger: decides and writes a batch of postings in the caller's transaction, which must be READ
 * COMMITTED. The wallets are locked in sorted order, so that two batches cannot deadlock, and read after the lock.
 * Four statements a batch, however large: lock, look up keys, write, and one more where a wallet has to be made first.
 * @returns one outcome for each posting, in order
 * @throws a unique violation if another transaction wrote one of the idempotency keys under another wallet meanwhile;
 * trying again finds that entry
 */
export async function postBatch(
  tx: Tx,
  postings: readonly Posting[],
  settings: LedgerSettings,
  now: Date,
): Promise<readonly Outcome[]> {
  if (postings.length === 0) return [];
  const wallets = await lockWallets(tx, postings, settings, now);
  const known = await findByKeys(tx, postings);
  const result = post(postings, { wallets, known, currencies: settings.currencies, rule: settings.rule, now });
  await write(tx, result);
  return result.outcomes;
}

/** Locks every wallet the keys name that exists, making the rows of a newly configured currency on the way. */
export async function lockWallets(
  tx: Tx,
  keys: readonly WalletKey[],
  settings: LedgerSettings,
  now: Date,
): Promise<Map<string, Wallet>> {
  const unique = new Map(
    keys.filter(({ currency }) => settings.currencies.has(currency)).map((key) => [walletKeyText(key), key]),
  );
  const wallets = await selectForUpdate(tx, [...unique.values()]);
  const missing = [...unique].filter(([text]) => !wallets.has(text)).map(([, key]) => key);
  if (missing.length === 0 || !(await makeMissing(tx, missing, now))) return wallets;
  // All are locked anew and in order: the new rows may sort before ones already held, but nobody else can hold those yet.
  return selectForUpdate(tx, [...unique.values()]);
}

async function selectForUpdate(tx: Tx, keys: readonly WalletKey[]): Promise<Map<string, Wallet>> {
  if (keys.length === 0) return new Map();
  const { rows } = await tx.query<WalletRow>(LOCK_WALLETS, [
    keys.map((key) => key.merchantId),
    keys.map((key) => key.customerId),
    keys.map((key) => key.currency),
  ]);
  return new Map(rows.map(toWallet).map((wallet) => [walletKeyText(wallet), wallet]));
}

const LOCK_WALLETS = {
  name: 'lock-wallets',
  text: `
    select ${WALLET_COLUMNS}
    from wallet w
    join unnest($1::text[], $2::text[], $3::text[]) as k (merchant_id, customer_id, currency)
      using (merchant_id, customer_id, currency)
    order by w.merchant_id, w.customer_id, w.currency
    for update of w`,
};

/** A wallet exists for each currency a customer was created under; one configured later is opened at its first use. */
async function makeMissing(tx: Tx, keys: readonly WalletKey[], now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    `with made as (
       insert into wallet (merchant_id, customer_id, currency, created_at, updated_at)
       select merchant_id, customer_id, k.currency, $4, $4
       from customer c
       join unnest($1::text[], $2::text[], $3::text[]) as k (merchant_id, customer_id, currency) using (merchant_id, customer_id)
       order by 1, 2, 3
       on conflict do nothing
       returning merchant_id, customer_id, currency),
     noted as (
       insert into unannounced_wallet (merchant_id, customer_id, currency) select * from made on conflict do nothing)
     select 1 from customer c join unnest($1::text[], $2::text[]) as k (merchant_id, customer_id) using (merchant_id, customer_id) limit 1`,
    [
      keys.map((key) => key.merchantId),
      keys.map((key) => key.customerId),
      keys.map((key) => key.currency),
      now.toISOString(),
    ],
  );
  return rowCount === 1;
}

/**
 * Opens the wallets of new customers, one for each currency, balance 0, in the transaction that makes the customers.
 * Opening a wallet that is open changes nothing.
 */
export async function openWallets(
  tx: Tx,
  customers: readonly { merchantId: string; customerId: string }[],
  currencies: Iterable<string>,
  now: Date,
): Promise<void> {
  const keys = customers.flatMap((customer) => [...currencies].map((currency) => ({ ...customer, currency })));
  if (keys.length > 0) await makeMissing(tx, keys, now);
}

async function findByKeys(tx: Tx, postings: readonly Posting[]): Promise<Map<string, Entry>> {
  const keyed = postings.filter((posting) => posting.idempotencyKey !== null);
  if (keyed.length === 0) return new Map();
  const { rows } = await tx.query<EntryRow>(FIND_BY_KEYS, [
    keyed.map((posting) => posting.merchantId),
    keyed.map((posting) => posting.customerId),
    keyed.map((posting) => posting.idempotencyKey),
  ]);
  return new Map(rows.map(toEntry).map((entry) => [idempotencyText(entry), entry]));
}

/** The entries of one customer under these idempotency keys, in no particular order. */
export async function entriesByKeys(
  db: Queryable,
  merchantId: string,
  customerId: string,
  keys: readonly string[],
): Promise<Entry[]> {
  const { rows } = await db.query<EntryRow>(FIND_BY_KEYS, [
    keys.map(() => merchantId),
    keys.map(() => customerId),
    keys,
  ]);
  return rows.map(toEntry);
}

/** Key by key: as a join, old statistics made the planner read all of a hot wallet for each batch, at a quarter of the rate. */
const FIND_BY_KEYS = {
  name: 'find-entries-by-keys',
  text: `
    select ${ENTRY_COLUMNS}
    from unnest($1::text[], $2::text[], $3::text[]) as k (merchant_id, customer_id, idempotency_key)
    cross join lateral (
      select * from entry x
      where x.merchant_id = k.merchant_id and x.customer_id = k.customer_id and x.idempotency_key = k.idempotency_key
      limit 1) as e`,
};

/**
 * Writes entries, the new state of locked wallets and the note that there is something to announce, in one statement,
 * and alerts, which are rare, in another.
 */
export async function write(tx: Tx, { wallets, entries, alerts }: Omit<PostResult, 'outcomes'>): Promise<void> {
  if (wallets.length === 0) return;
  const { rows } = await tx.query<{ wallets: number; entries: number }>(WRITE, [
    ...entryColumns(entries),
    ...walletColumns(wallets),
  ]);
  invariant(rows[0]?.wallets === wallets.length, 'a locked wallet was not there to be updated');
  invariant(rows[0]?.entries === entries.length, 'an entry was not written');
  await insertAlerts(tx, alerts);
}

const WRITE = {
  name: 'write-postings',
  text: `
    with written as (
      insert into entry (merchant_id, customer_id, currency, seq, amount, is_credit, event_type, before_balance,
        after_balance, reason, reference_object_id, metadata, idempotency_key, fingerprint, created_at)
      select merchant_id, customer_id, currency, seq, amount, is_credit, event_type, before_balance, after_balance, reason,
        reference_object_id, metadata::jsonb, idempotency_key, decode(fingerprint, 'hex'), created_at
      from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::text[], $8::bigint[],
        $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[])
        as n (merchant_id, customer_id, currency, seq, amount, is_credit, event_type, before_balance, after_balance, reason,
          reference_object_id, metadata, idempotency_key, fingerprint, created_at)
      returning 1),
    moved as (
      update wallet w
      set balance = n.balance, version = n.version, alerts_armed = n.alerts_armed, low_since = n.low_since,
        depleted_since = n.depleted_since, low_alerted_at = n.low_alerted_at, alert_seq = n.alert_seq, updated_at = n.updated_at
      from unnest($16::text[], $17::text[], $18::text[], $19::bigint[], $20::bigint[], $21::boolean[], $22::timestamptz[],
        $23::timestamptz[], $24::timestamptz[], $25::bigint[], $26::timestamptz[])
        as n (merchant_id, customer_id, currency, balance, version, alerts_armed, low_since, depleted_since, low_alerted_at,
          alert_seq, updated_at)
      where w.merchant_id = n.merchant_id and w.customer_id = n.customer_id and w.currency = n.currency
      returning 1),
    noted as (
      insert into unannounced_wallet (merchant_id, customer_id, currency)
      select * from unnest($16::text[], $17::text[], $18::text[])
      on conflict do nothing)
    select (select count(*) from moved) as wallets, (select count(*) from written) as entries`,
};

function entryColumns(entries: readonly Entry[]): unknown[][] {
  return [
    entries.map((entry) => entry.merchantId),
    entries.map((entry) => entry.customerId),
    entries.map((entry) => entry.currency),
    entries.map((entry) => entry.seq),
    entries.map((entry) => entry.amountMinor),
    entries.map((entry) => entry.isCredit),
    entries.map((entry) => entry.eventType),
    entries.map((entry) => entry.beforeBalance),
    entries.map((entry) => entry.afterBalance),
    entries.map((entry) => entry.reason),
    entries.map((entry) => entry.referenceObjectId),
    entries.map((entry) => (entry.metadata === null ? null : JSON.stringify(entry.metadata))),
    entries.map((entry) => entry.idempotencyKey),
    entries.map((entry) => entry.fingerprint),
    entries.map((entry) => entry.createdAt.toISOString()),
  ];
}

function walletColumns(wallets: readonly Wallet[]): unknown[][] {
  return [
    wallets.map((wallet) => wallet.merchantId),
    wallets.map((wallet) => wallet.customerId),
    wallets.map((wallet) => wallet.currency),
    wallets.map((wallet) => wallet.balance),
    wallets.map((wallet) => wallet.version),
    wallets.map((wallet) => wallet.alertsArmed),
    wallets.map((wallet) => wallet.lowSince?.toISOString() ?? null),
    wallets.map((wallet) => wallet.depletedSince?.toISOString() ?? null),
    wallets.map((wallet) => wallet.lowAlertedAt?.toISOString() ?? null),
    wallets.map((wallet) => wallet.alertSeq),
    wallets.map((wallet) => wallet.updatedAt.toISOString()),
  ];
}

async function insertAlerts(tx: Tx, alerts: readonly WalletAlert[]): Promise<void> {
  if (alerts.length === 0) return;
  await tx.query(
    `insert into wallet_alert (merchant_id, customer_id, currency, alert_seq, kind, reminder, balance, threshold, version, created_at)
     select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::boolean[], $7::bigint[], $8::bigint[], $9::bigint[], $10::timestamptz[])`,
    [
      alerts.map((alert) => alert.merchantId),
      alerts.map((alert) => alert.customerId),
      alerts.map((alert) => alert.currency),
      alerts.map((alert) => alert.alertSeq),
      alerts.map((alert) => alert.kind),
      alerts.map((alert) => alert.reminder),
      alerts.map((alert) => alert.balance),
      alerts.map((alert) => alert.threshold),
      alerts.map((alert) => alert.version),
      alerts.map((alert) => alert.createdAt.toISOString()),
    ],
  );
}

/** Every wallet of the customers, by customer and currency. */
export async function readWallets(
  db: Queryable,
  merchantIds: readonly string[],
  customerIds: readonly string[],
): Promise<Wallet[]> {
  const { rows } = await db.query<WalletRow>(READ_WALLETS, [merchantIds, customerIds]);
  return rows.map(toWallet);
}

const READ_WALLETS = {
  name: 'read-wallets',
  text: `
    select ${WALLET_COLUMNS}
    from wallet w join unnest($1::text[], $2::text[]) as k (merchant_id, customer_id) using (merchant_id, customer_id)
    order by w.merchant_id, w.customer_id, w.currency`,
};
