import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pool } from '../../src/db/pool.ts';
import { nextHash, startOfChain } from '../../src/ledger/hash-chain.ts';
import { MERCHANT } from './fill.ts';

/** Large tables, filled by the server itself: constraints and triggers are left out meanwhile, so rows must be right as they are. */

/** What the first entry of an empty wallet gives it. */
const FIRST = 1_000_000;

interface FilledWallets {
  readonly from: number;
  readonly to: number;
  /** Of which no entry tells. */
  readonly balance: number;
}

/** Nothing to be said of them; with them come no customers. */
export async function fillWallets(pool: Pool, { from, to, balance }: FilledWallets): Promise<void> {
  await unchecked(
    pool,
    `insert into wallet (merchant_id, customer_id, currency, balance, version, announced_version, alerts_armed, created_at, updated_at)
     select 'bus_default', 'cus_bench' || n, 'USD', $3::bigint, 0, 0, true, '2025-01-01', '2025-01-01' from generate_series($1::bigint, $2::bigint - 1) n`,
    [from, to, balance],
  );
}

export interface Filling {
  /** How many entries each wallet gets. */
  readonly each: number;
  /** How far they are apart. */
  readonly stepMs: number;
  /** Where Postgres may read files. */
  readonly folder: string;
}

const ROWS_A_FILE = 400_000;

/** Credits for each wallet in dollars, after what it has and in the order of time, with their hashes, so that an audit of them is one of real entries. */
export async function fillEntries(pool: Pool, { each, stepMs, folder }: Filling): Promise<void> {
  const wallets = await startsOf(pool);
  const path = join(folder, 'entries.copy');
  for (let lines: string[] = [], k = 0; k < each; k += 1) {
    for (const wallet of wallets) lines.push(nextLine(wallet, stepMs));
    if (lines.length < ROWS_A_FILE && k < each - 1) continue;
    await writeFile(path, lines.join(''), { mode: 0o644 });
    lines = [];
    await unchecked(pool, `copy entry (${COPIED.join(', ')}) from '${path}'`, []);
  }
  await rm(path, { force: true });
  const ends = wallets.map(({ customerId, version, balance, hash, atMs }) => ({
    ...{ customer_id: customerId, version, balance, hash, updated_at: new Date(atMs) },
  }));
  await unchecked(
    pool,
    `update wallet w set balance = n.balance, version = n.version, announced_version = n.version, head = decode(n.hash, 'hex'),
       head_version = case when n.hash is null then 0 else n.version end, updated_at = n.updated_at
     from jsonb_to_recordset($1::jsonb) n (customer_id text, version bigint, balance bigint, hash text, updated_at timestamptz)
     where w.customer_id = n.customer_id and w.currency = 'USD'`,
    [JSON.stringify(ends)],
  );
  await pool.query('vacuum analyze entry');
  await pool.query('vacuum analyze wallet');
  await pool.query('checkpoint');
}

const COPIED = [
  ...[
    'merchant_id',
    'customer_id',
    'currency',
    'seq',
    'amount',
    'is_credit',
    'event_type',
    'before_balance',
    'after_balance',
  ],
  ...['reason', 'idempotency_key', 'fingerprint', 'created_at', 'hash'],
];

/** A wallet while it is filled. */
interface Filled {
  readonly customerId: string;
  version: number;
  balance: number;
  hash: string | null;
  atMs: number;
}

async function startsOf(pool: Pool): Promise<readonly Filled[]> {
  const { rows } = await pool.query<Filled>(
    `select customer_id as "customerId", version, balance, case when head_version = version then encode(head, 'hex') end as hash,
       (extract(epoch from updated_at) * 1000)::bigint as "atMs"
     from wallet where currency = 'USD' order by customer_id`,
  );
  return rows;
}

/** The next entry as a line for COPY; the wallet goes on to it. */
function nextLine(wallet: Filled, stepMs: number): string {
  const { customerId, balance: beforeBalance } = wallet;
  const key = { merchantId: MERCHANT, customerId, currency: 'USD' };
  const seq = wallet.version + 1;
  const amountMinor = beforeBalance === 0 ? FIRST : 1;
  const createdAt = new Date(wallet.atMs + stepMs);
  const entry = {
    ...{
      ...key,
      seq,
      amountMinor,
      isCredit: true,
      beforeBalance,
      afterBalance: beforeBalance + amountMinor,
      createdAt,
    },
    ...{ eventType: seq % 50_000 === 40_000 ? ('refund' as const) : ('merchant_adjustment' as const), reason: 'bench' },
    ...{ idempotencyKey: `fill-${seq}`, referenceObjectId: null, metadata: null, effectiveAt: null },
  };
  const hash = nextHash(
    wallet.hash ?? startOfChain({ ...key, version: wallet.version, balance: beforeBalance }),
    entry,
  );
  const { eventType, afterBalance, reason, idempotencyKey } = entry;
  Object.assign(wallet, { version: seq, balance: afterBalance, hash, atMs: createdAt.getTime() });
  const bytes = `\\\\x${hash}`;
  const money = [amountMinor, 't', eventType, beforeBalance, afterBalance];
  const line = [
    MERCHANT,
    customerId,
    'USD',
    seq,
    ...money,
    reason,
    idempotencyKey,
    bytes,
    createdAt.toISOString(),
    bytes,
  ];
  return `${line.join('\t')}\n`;
}

async function unchecked(pool: Pool, text: string, values: readonly unknown[]): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query("set session_replication_role = 'replica'");
    await client.query(text, [...values]);
  } finally {
    await client.query('reset session_replication_role');
    client.release();
  }
}
