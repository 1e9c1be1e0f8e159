import { ofEachMerchant, ofEachMerchantAtOnce } from '../../db/by-merchant.ts';
import { bigint, boolean, integer, nullable, oneOf, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { assignments, columns, matches, omit, pick } from '../../db/table.ts';
import type { Tx } from '../../db/transaction.ts';
import type { HoldChanges } from '../book-changes.ts';
import { type Wallet, type WalletKey, walletKeyText } from '../entry.ts';
import {
  CLOSED_HOLD,
  HOLD,
  HOLD_CAPTURE,
  MOVED,
  OWN_ENTRY,
  OWN_KEY,
  TOPUP_DUE,
  WALLET,
  WALLET_KEY,
} from '../tables.ts';
import { isDue } from '../working-books.ts';
import { atKeys, COUNT, type Written, whole } from '../written.ts';
import { type Hold, type HoldCommand, type HoldKey, holdKeyText } from './hold.ts';
import { dueSooner, OWN_DUE, writePlaced } from './placed.ts';

/** A hold as it is read, whether it is open or closed. */
export const READ_HOLD = {
  ...HOLD.shape,
  state: oneOf<Hold['state']>(),
  released: bigint,
  releaseReason: nullable(text),
  closedAt: nullable(timestamptz),
  beyond: bigint,
  lateDebits: bigint,
};

/** SQL for the holds that a condition on `x` names, as far as their own rows have them. */
export const OPEN_ROWS = `${columns(HOLD.shape, 'x')}, 'open' as state, 0::bigint as released, null::text as release_reason,
  null::timestamptz as closed_at from hold x`;
export const CLOSED_ROWS = `${columns(HOLD.shape, 'x')}, x.state, x.released, x.release_reason, x.closed_at from closed_hold x`;

/**
 * SQL for what captures took beyond the hold `h`. Only the one that closed it can, and late debits, of a checkout two: the newest three,
 * however many there are.
 */
export const BEYOND = `(
  select coalesce(sum(c.beyond), 0)::bigint as beyond, count(*) filter (where c.from_hold = 0) as late_debits
  from (
    select c.beyond, c.from_hold from hold_capture c
    where ${matches(WALLET_KEY, 'c', 'h')} and c.hold_no = h.hold_no and h.state <> 'open'
    order by c.seq desc limit 3) c)`;

/** What a statement reads of `h` and `b`, in the order of {@link READ_HOLD}. */
export const READ_COLUMNS = `${columns(omit(READ_HOLD, 'beyond', 'lateDebits'), 'h')}, b.beyond, b.late_debits`;

/** The holds that commands name by number or by key. No statement is made for what there is none of; all are sent before one is answered. */
export async function findNamedHolds(tx: Tx, commands: readonly HoldCommand[]): Promise<readonly Hold[]> {
  const keys = commands.flatMap(keysIn);
  const holds = new Map<string, HoldKey>();
  for (const command of commands) if ('holdNo' in command) holds.set(holdKeyText(command), command);
  const found = await Promise.all([
    ofEachMerchantAtOnce(keysOnce(keys), (merchantId, keys) => HOLDS_BY_KEYS.all(tx, { merchantId, keys })),
    ofEachMerchantAtOnce([...holds.values()], (merchantId, keys) => HOLDS_BY_NUMBERS.all(tx, { merchantId, keys })),
  ]);
  return found.flat();
}

/** All open holds of locked wallets in which one ends by now, without their texts. */
export function findHoldsOfDue(tx: Tx, wallets: Iterable<Wallet>, now: Date): Promise<readonly Hold[]> {
  const due = [...wallets].filter((wallet) => wallet.openHolds > 0 && isDue(wallet, now));
  return ofEachMerchant(due, (merchantId, keys) => OPEN_HOLDS.all(tx, { merchantId, keys }));
}

type KeyOfHold = WalletKey & Pick<Hold, 'idempotencyKey'>;

const holdKeyOfText = (key: KeyOfHold) => `${walletKeyText(key)}\0${key.idempotencyKey}`;

/** Each key once, however many commands of the batch name it. Where no two have the same text, none is named twice. */
function keysOnce(keys: readonly KeyOfHold[]): readonly KeyOfHold[] {
  if (new Set(keys.map(({ idempotencyKey }) => idempotencyKey)).size === keys.length) return keys;
  return [...new Map(keys.map((key) => [holdKeyOfText(key), key])).values()];
}

/** The keys under which a command looks for holds. */
function keysIn(command: HoldCommand): readonly KeyOfHold[] {
  if (command.op === 'place') return [command];
  if (command.op !== 'hold_disputes') return [];
  const { merchantId, customerId, currency, disputes } = command;
  return disputes.map(({ idempotencyKey }) => ({ merchantId, customerId, currency, idempotencyKey }));
}

/** Keys are looked up one by one, as those of entries are. */
const HOLDS_BY_KEYS = statement({
  name: 'find-holds-by-keys',
  params: { merchantId: text, keys: rowsOf(pick(HOLD.shape, 'customerId', 'currency', 'idempotencyKey')) },
  row: READ_HOLD,
  text: ({ merchantId, keys }) => `
    select ${READ_COLUMNS}
    from ${keys('k')}
    cross join lateral (
      select ${OPEN_ROWS}
      where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.currency = k.currency
        and x.idempotency_key = k.idempotency_key
      union all
      select ${CLOSED_ROWS}
      where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.currency = k.currency
        and x.idempotency_key = k.idempotency_key
      limit 1) h
    cross join lateral ${BEYOND} b`,
});

const HOLDS_BY_NUMBERS = statement({
  name: 'find-holds-by-numbers',
  params: { merchantId: text, keys: rowsOf(pick(HOLD.shape, 'customerId', 'currency', 'holdNo')) },
  row: READ_HOLD,
  text: ({ merchantId, keys }) => `
    select ${READ_COLUMNS}
    from ${keys('k')}
    cross join lateral (
      select ${OPEN_ROWS}
      where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.currency = k.currency and x.hold_no = k.hold_no
      union all
      select ${CLOSED_ROWS}
      where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.currency = k.currency and x.hold_no = k.hold_no
      limit 1) h
    cross join lateral ${BEYOND} b`,
});

/** Without texts: those of a thousand holds, in each of many wallets, would be gigabytes. */
const OPEN_HOLDS = statement({
  name: 'find-open-holds',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: { ...omit(READ_HOLD, 'reason', 'metadata'), ...pick(READ_HOLD, 'reason', 'metadata') },
  text: ({ merchantId, keys }) => `
    select ${columns(omit(HOLD.shape, 'reason', 'metadata'), 'x')}, 'open' as state, 0::bigint as released,
      null::text as release_reason, null::timestamptz as closed_at, 0::bigint as beyond, 0::bigint as late_debits,
      null::text as reason, null::jsonb as metadata
    from ${keys('k', { merchantId })}
    cross join lateral (select * from hold x where ${matches(WALLET_KEY, 'x', 'k')} offset 0) x`,
});

/** What holds, lots and the status change of a wallet. */
const HELD = pick(WALLET.shape, 'held', 'openHolds', 'holdSeq', 'dueAt', 'inLots', 'openLots', 'lotSeq', 'status');
const OWN_HOLD = omit(HOLD.shape, 'merchantId');
const OWN_CLOSED = omit(CLOSED_HOLD.shape, 'merchantId');
const CLOSED_NUMBERS = omit(OWN_CLOSED, 'reason', 'metadata');
const OWN_CAPTURE = omit(HOLD_CAPTURE.shape, 'merchantId');
const OWN_TOPUP = omit(TOPUP_DUE.shape, 'merchantId', 'wokenAt');
const HOLD_KEY = { ...WALLET_KEY, holdNo: HOLD.shape.holdNo };

/**
 * Writes what a batch without holds writes, and what it changes about holds, of one merchant in one statement. It is waited for only where
 * a wallet may come onto the list of those to be filled up; else the transaction throws what it throws.
 * @returns how many wallets came onto that list
 * @throws {DatabaseError} if a locked wallet was not there
 */
export async function writeWithHolds(
  tx: Tx,
  rows: Written,
  { quiet, isPlaced, ...changes }: HoldChanges,
): Promise<number> {
  if (changes.arePlaced) {
    writePlaced(tx, rows, changes);
    return 0;
  }
  const { merchantId, written, moved } = rows;
  const withTexts = <Item extends Hold>(hold: Item) =>
    isPlaced(hold) ? hold : { ...hold, reason: null, metadata: null };
  const own = <Item extends WalletKey>(rows: readonly Item[]) => rows.filter((row) => row.merchantId === merchantId);
  const [fallen, closed] = [own(changes.fallen), own(changes.closed)];
  // Those that were placed in the same batch were never among the open ones.
  const ending = closed.filter((hold) => !isPlaced(hold));
  const values = {
    ...{ merchantId, written, fallen, count: moved.length + written.length + ending.length },
    moved: moved.map((wallet) => ({ ...wallet, isNews: !quiet.has(walletKeyText(wallet)) })),
    opened: own(changes.open).map(withTexts),
    closed: closed.map(withTexts),
    captures: own(changes.captures),
    due: own(changes.due),
  };
  if (fallen.length > 0) return (await WRITE_WITH_HOLDS.one(tx, values)).fallen;
  tx.withoutWaiting(WRITE_WITH_HOLDS.run(tx, values));
  return 0;
}

/** Texts of holds that close do not leave the database. */
const WRITE_WITH_HOLDS = statement({
  name: 'write-postings-and-holds',
  params: {
    merchantId: text,
    written: rowsOf(OWN_ENTRY),
    moved: rowsOf({ ...OWN_KEY, ...MOVED, ...HELD, isNews: boolean }),
    opened: rowsOf(OWN_HOLD),
    closed: rowsOf(OWN_CLOSED),
    captures: rowsOf(OWN_CAPTURE),
    due: rowsOf(OWN_DUE),
    fallen: rowsOf(OWN_TOPUP),
    ...COUNT,
  },
  row: { whole: integer, fallen: bigint },
  text: ({ merchantId, written, moved, opened, closed, captures, due, fallen, count }) => `
    with written as (
      insert into entry (merchant_id, ${columns(OWN_ENTRY)})
      select ${merchantId}, ${columns(OWN_ENTRY, 'n')} from ${written('n')}
      returning 1),
    moved as (
      update wallet w
      set ${assignments({ ...MOVED, ...HELD }, 'n')}
      from ${moved('n', { merchantId })}
      where ${matches(WALLET_KEY, 'w', 'n')}
      returning 1),
    noted as (
      insert into unannounced_wallet (merchant_id, customer_id, currency)
      select merchant_id, customer_id, currency from ${moved('n', { merchantId })} where n.is_news
      on conflict do nothing),
    opened as (
      insert into hold (merchant_id, ${columns(OWN_HOLD)})
      select ${merchantId}, ${columns(OWN_HOLD, 'n')} from ${opened('n')}
      on conflict (merchant_id, customer_id, currency, hold_no)
      do update set amount = excluded.amount, captured = excluded.captured, expires_at = excluded.expires_at),
    gone as (
      delete from hold h
      where ${atKeys({ table: 'hold', alias: 'h', key: HOLD_KEY, merchant: merchantId }, closed('n', { merchantId }))}
      returning h.merchant_id, h.customer_id, h.currency, h.hold_no, h.reason, h.metadata),
    closed as (
      insert into closed_hold (merchant_id, ${columns(CLOSED_NUMBERS)}, reason, metadata)
      select n.merchant_id, ${columns(CLOSED_NUMBERS, 'n')}, coalesce(g.reason, n.reason), coalesce(g.metadata, n.metadata)
      from ${closed('n', { merchantId })} left join gone g on ${matches(HOLD_KEY, 'g', 'n')}),
    captured as (
      insert into hold_capture (merchant_id, ${columns(OWN_CAPTURE)})
      select ${merchantId}, ${columns(OWN_CAPTURE, 'n')} from ${captures('n')}),
    ${dueSooner(due('n', { merchantId }))},
    fallen as (
      insert into topup_due (merchant_id, ${columns(OWN_TOPUP)})
      select ${merchantId}, ${columns(OWN_TOPUP, 'n')} from ${fallen('n')}
      on conflict do nothing
      returning 1)
    select ${whole(['moved', 'written', 'gone'], count)}, (select count(*) from fallen) as fallen`,
});

/**
 * Brings the work list up to date for wallets that were swept: it goes by the wallets as they now are, since a batch may hold more
 * than the sweep.
 */
export async function settleDue(
  tx: Tx,
  outcomes: readonly { readonly kind: string; readonly wallet?: Wallet | null }[],
): Promise<void> {
  const swept = outcomes.flatMap(({ kind, wallet }) => (kind === 'swept' && wallet != null ? [wallet] : []));
  await ofEachMerchant(swept, async (merchantId, keys) => {
    await SETTLE_DUE.run(tx, { merchantId, keys });
    return [];
  });
}

const SETTLE_DUE = statement({
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  text: ({ merchantId, keys }) => `
    with swept as (
      select w.merchant_id, w.customer_id, w.currency, w.due_at
      from ${keys('k', { merchantId })} join wallet w using (merchant_id, customer_id, currency)),
    gone as (delete from wallet_due d using swept s where ${matches(WALLET_KEY, 'd', 's')} and s.due_at is null)
    update wallet_due d set due_at = s.due_at from swept s
    where ${matches(WALLET_KEY, 'd', 's')} and s.due_at <> d.due_at`,
});
