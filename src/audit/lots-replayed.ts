import { bigint, boolean, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, matches, pick } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { type Entry, type WalletKey, walletKeyText } from '../ledger/entry.ts';
import type { LotChange } from '../ledger/lots/lot.ts';
import type { Pauses } from '../ledger/lots/pauses.ts';
import { ENTRY, LOT, LOT_CHANGE, LOT_MOVEMENT, WALLET_KEY } from '../ledger/tables.ts';
import { type Disagreement, MAX_PER_RULE } from './check.ts';
import { hasTermsOfRequest, LotReplay, type StoredMovement } from './lot-replay.ts';

/**
 * Rules 9f and 9h: every entry of a wallet with lots took from them in the order in which credit is spent, and each lot began with the
 * terms that its request asked for. It reads all entries of such wallets, a part of them at
 * a time; between weekly proofs, of those that had an entry since: a replay begins with the first.
 */

const IN_ORDER = '9h lots: each entry moved in them what their order says';
const AS_ASKED = '9f lots: their first terms are those that were asked for';
/** The rules, of which the first one's mark is both's. */
export const LOTS_REPLAYED = [IN_ORDER, AS_ASKED] as const;
const WALLETS_PER_PAGE = 500;
/** Few enough for the memory, also if all entries have as much metadata as the API takes. */
const ENTRIES_PER_PART = 500;

interface LotWallet extends WalletKey {
  readonly version: number;
}

/** Entries of one wallet, both ends included. */
interface Stretch extends WalletKey {
  readonly fromSeq: number;
  readonly toSeq: number;
}

/** @param since wallets with lots are read that had an entry from then on; null for all */
export async function checkLotsReplayed(db: Queryable, since: Date | null): Promise<readonly Disagreement[]> {
  const found: Disagreement[] = [];
  let after: WalletKey = { merchantId: '', customerId: '', currency: '' };
  for (;;) {
    const wallets: LotWallet[] = await WALLETS.all(db, {
      ...{ ...afterKey(after), busySince: since ?? new Date(0), limit: WALLETS_PER_PAGE },
    });
    const last = wallets.at(-1);
    if (last === undefined) return found;
    // A wallet's replay lives from its first entry to its last.
    const replays = new Map<string, LotReplay>();
    for (const part of inParts(wallets)) {
      await checkPart(db, { part, replays, found });
      if (found.length >= MAX_PER_RULE) return found;
    }
    after = last;
  }
}

/** The entries of the wallets in parts: several short wallets together, a long one by itself and in as many as it takes. */
function* inParts(wallets: readonly LotWallet[]): Generator<readonly Stretch[]> {
  let part: Stretch[] = [];
  let room = ENTRIES_PER_PART;
  for (const { version, ...key } of wallets) {
    for (let seq = 1; seq <= version; ) {
      const toSeq = Math.min(version, seq + room - 1);
      part.push({ ...key, fromSeq: seq, toSeq });
      room -= toSeq - seq + 1;
      seq = toSeq + 1;
      if (room > 0) continue;
      yield part;
      part = [];
      room = ENTRIES_PER_PART;
    }
  }
  if (part.length > 0) yield part;
}

interface Checking {
  readonly part: readonly Stretch[];
  readonly replays: Map<string, LotReplay>;
  readonly found: Disagreement[];
}

async function checkPart(db: Queryable, { part, replays, found }: Checking): Promise<void> {
  const entries = await ENTRIES.all(db, { stretches: part });
  const movements = await movementsOf(db, part);
  const paused = await pausesOf(db, entries);
  for (const entry of entries) {
    const wallet = walletKeyText(entry);
    const replay = replays.get(wallet) ?? new LotReplay();
    replays.set(wallet, replay);
    const moved = movements.get(`${wallet}\0${entry.seq}`) ?? [];
    const name = (rule: string, detail: string) => {
      const subject = `${entry.merchantId}/${entry.customerId}/${entry.currency} entry ${entry.seq}`;
      found.push({ rule, subject, detail });
    };
    const wrong = replay.take(entry, moved, paused.get(`${wallet}\0${entry.seq}`) ?? NO_PAUSES);
    if (wrong !== null) name(IN_ORDER, wrong);
    for (const { lot } of moved) {
      // What follows a closed lot has the terms of that one.
      if (!entry.isCredit || lot.originSeq !== entry.seq || hasTermsOfRequest(entry, lot)) continue;
      // Names that were struck out were asked for all the same.
      const { isErased } = await IS_ERASED.one(db, { merchantId: entry.merchantId, customerId: entry.customerId });
      if (!isErased) name(AS_ASKED, `lot ${lot.lotNo} has not the terms of the request that gave it`);
    }
  }
  // All but the last have come to their ends.
  for (const stretch of part.slice(0, -1)) replays.delete(walletKeyText(stretch));
}

const NO_PAUSES: Pauses = new Map();

/** Of each capture in a paused wallet, by wallet and number, since when it was. */
async function pausesOf(db: Queryable, entries: readonly Entry[]): Promise<ReadonlyMap<string, Pauses>> {
  const captures = entries.filter(({ eventType }) => eventType === 'hold_captured');
  const rows = captures.length === 0 ? [] : await PAUSED.all(db, { captures });
  return new Map(
    rows.map((row) => [`${walletKeyText(row)}\0${row.seq}`, new Map([[walletKeyText(row), row.pausedSince]])]),
  );
}

/** What entries moved, by wallet and number, with the lots as they are now and their changes. */
async function movementsOf(db: Queryable, part: readonly Stretch[]): Promise<ReadonlyMap<string, StoredMovement[]>> {
  const rows = await MOVED.all(db, { stretches: part });
  const keyOf = (lot: WalletKey & { readonly lotNo: number }) => `${walletKeyText(lot)}\0${lot.lotNo}`;
  const changed = new Map(rows.filter(({ changes }) => changes > 0).map((row) => [keyOf(row), row]));
  const all: LotChange[] = changed.size === 0 ? [] : await CHANGES.all(db, { lots: [...changed.values()] });
  const changes = Map.groupBy(all, keyOf);
  const moved = new Map<string, StoredMovement[]>();
  for (const { seq, amountMinor, ...lot } of rows) {
    const text = `${walletKeyText(lot)}\0${seq}`;
    const own = moved.get(text) ?? [];
    own.push({ lot: { ...lot, changes: changes.get(keyOf(lot)) ?? [] }, amount: amountMinor });
    moved.set(text, own);
  }
  return moved;
}

function afterKey({ merchantId, customerId, currency }: WalletKey) {
  return { afterMerchantId: merchantId, afterCustomerId: customerId, afterCurrency: currency };
}

const WALLETS = statement({
  acrossMerchants: 'the audit reads every wallet',
  params: { afterMerchantId: text, afterCustomerId: text, afterCurrency: text, busySince: timestamptz, limit: bigint },
  row: { ...WALLET_KEY, version: bigint },
  text: (p) => `
    select ${columns(WALLET_KEY, 'w')}, w.version from wallet w
    where w.lot_seq > 0 and w.updated_at >= ${p.busySince}
      and (w.merchant_id, w.customer_id, w.currency) > (${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency})
    order by ${columns(WALLET_KEY, 'w')}
    limit ${p.limit}`,
});

const STRETCHES = rowsOf({ ...WALLET_KEY, fromSeq: bigint, toSeq: bigint });

const ENTRIES = statement({
  acrossMerchants: 'the audit reads every entry',
  params: { stretches: STRETCHES },
  row: ENTRY.shape,
  text: ({ stretches }) => `
    select h.*
    from ${stretches('s')}
    cross join lateral (
      select ${columns(ENTRY.shape, 'e')} from entry e where ${matches(WALLET_KEY, 'e', 's')} and e.seq between s.from_seq and s.to_seq) h
    order by h.merchant_id, h.customer_id, h.currency, h.seq`,
});

/** Of a pause, the newest change says since when it is; each other change ends it. */
const PAUSED = statement({
  acrossMerchants: 'the audit reads every change of status',
  params: { captures: rowsOf({ ...WALLET_KEY, seq: bigint, createdAt: timestamptz }) },
  row: { ...WALLET_KEY, seq: bigint, pausedSince: timestamptz },
  text: ({ captures }) => `
    select ${columns(WALLET_KEY, 'e')}, e.seq, h.created_at as paused_since
    from ${captures('e')}
    cross join lateral (
      select x.created_at, x.pause_expiry from wallet_status_change x
      where ${matches(WALLET_KEY, 'x', 'e')} and x.created_at <= e.created_at
      order by x.change_no desc limit 1) h
    where h.pause_expiry`,
  // Without a part of it to be read by itself: Citus misreads what it noted of one that is sorted.
  textOnCitus: ({ captures }) => `
    select ${columns(WALLET_KEY, 'x')}, e.seq, (array_agg(x.created_at order by x.change_no desc))[1] as paused_since
    from ${captures('e')}
    join wallet_status_change x on ${matches(WALLET_KEY, 'x', 'e')} and x.created_at <= e.created_at
    group by ${columns(WALLET_KEY, 'x')}, e.seq
    having (array_agg(x.pause_expiry order by x.change_no desc))[1]`,
});

const STORED_LOT = pick(
  LOT.shape,
  'kind',
  'name',
  'priority',
  'expiresAt',
  'originSeq',
  'originKey',
  'changes',
  'createdAt',
);

const MOVED = statement({
  acrossMerchants: 'the audit reads every movement of lots',
  params: { stretches: STRETCHES },
  row: { ...LOT_MOVEMENT.shape, ...STORED_LOT },
  text: ({ stretches }) => `
    select h.*
    from ${stretches('s')}
    cross join lateral (
      select ${columns(LOT_MOVEMENT.shape, 'm')}, ${columns(STORED_LOT, 'l')}
      from lot_movement m
      join lateral (
        select ${columns(STORED_LOT)} from lot o where ${matches({ ...WALLET_KEY, lotNo: bigint }, 'o', 'm')}
        union all
        select ${columns(STORED_LOT)} from closed_lot c where ${matches({ ...WALLET_KEY, lotNo: bigint }, 'c', 'm')}) l on true
      where ${matches(WALLET_KEY, 'm', 's')} and m.seq between s.from_seq and s.to_seq) h`,
});

const CHANGES = statement({
  acrossMerchants: 'the audit reads every change of lots',
  params: { lots: rowsOf({ ...WALLET_KEY, lotNo: bigint }) },
  row: LOT_CHANGE.shape,
  text: ({ lots }) => `
    select h.*
    from ${lots('l')}
    cross join lateral (
      select ${columns(LOT_CHANGE.shape, 'c')} from lot_change c where ${matches({ ...WALLET_KEY, lotNo: bigint }, 'c', 'l')}) h
    order by h.change_no`,
});

const IS_ERASED = statement({
  params: { merchantId: text, customerId: text },
  row: { isErased: boolean },
  text: (p) => `
    select exists (
      select from customer_erasure r where r.merchant_id = ${p.merchantId} and r.customer_id = ${p.customerId}) as is_erased`,
});
