import { eachMerchant, ofEachMerchantAtOnce } from '../db/by-merchant.ts';
import { bigint, integer, named, text, tid } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, matches, pick } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { insertAlerts } from './alerts.ts';
import type { BookChanges } from './book-changes.ts';
import type { OpenCheckout } from './checkouts/open-checkout.ts';
import { findCheckouts, insertCheckouts } from './checkouts/store.ts';
import {
  type CustomerKey,
  type Entry,
  idempotencyText,
  type Posting,
  type Wallet,
  type WalletKey,
  walletKeyText,
} from './entry.ts';
import type { HoldCommand } from './holds/hold.ts';
import { countWithin } from './holds/parts.ts';
import { findHoldsOfDue, findNamedHolds, settleDue, writeWithHolds } from './holds/store.ts';
import { writeWithDraws } from './lots/draws.ts';
import type { LotRule } from './lots/notices.ts';
import type { LotOwners } from './lots/owners.ts';
import { findLots, guessLots, NO_GUESS, restoredKeys, writeLots } from './lots/store.ts';
import type { LowBalanceRule } from './low-balance/rule.ts';
import { makeMissing, namedIn, type WalletOpening } from './open-wallets.ts';
import {
  type CommandResult,
  type LedgerCommand,
  type PaymentCommand,
  type PaymentResult,
  type PostingResult,
  post,
} from './post.ts';
import { findInFlight, findStatuses, type TopUpsInFlight, writeStatuses } from './status/store.ts';
import { ENTRY, MOVED, OWN_ENTRY, OWN_KEY, WALLET, WALLET_KEY } from './tables.ts';
import { isDue } from './working-books.ts';

/** What the ledger must know besides its rows. */
export interface LedgerSettings {
  /** The currencies that have wallets. */
  readonly currencies: ReadonlySet<string>;
  readonly rule: LowBalanceRule;
  readonly lotRule: LotRule;
  readonly topUpsInFlight?: TopUpsInFlight;
  readonly lotOwners?: LotOwners;
}

/** What the ledger must know to write: its settings, and the time that its rows will bear. */
export interface LedgerMoment extends LedgerSettings {
  readonly now: Date;
}

/**
 * The one door to the ledger: decides and writes a batch of commands in the caller's transaction, which must be READ
 * COMMITTED. The wallets are locked in sorted order, so that two batches cannot deadlock, and read after the lock.
 * Three statements a merchant, however large the batch: lock, look up keys, write; two more where a wallet has to be made first, and
 * one for each way in which holds, lots, statuses and checkouts are looked up, where there are any to look for, and one to write each of those:
 * but for lots that are merely drawn on, which are written with the entries.
 * @returns one outcome for each command, in order
 * @throws {DatabaseError} a unique violation, if another transaction wrote one of the idempotency keys under another wallet
 *   meanwhile; trying again finds that entry
 * @throws {InvariantError} for an amount that is no whole number of minor units above 0
 */
export async function postBatch(
  tx: Tx,
  postings: readonly Posting[],
  moment: LedgerMoment,
): Promise<readonly PostingResult[]>;
export async function postBatch(
  tx: Tx,
  commands: readonly PaymentCommand[],
  moment: LedgerMoment,
): Promise<readonly PaymentResult[]>;
export async function postBatch(
  tx: Tx,
  commands: readonly LedgerCommand[],
  moment: LedgerMoment,
): Promise<readonly CommandResult[]>;
export async function postBatch(
  tx: Tx,
  commands: readonly LedgerCommand[],
  moment: LedgerMoment,
): Promise<readonly CommandResult[]> {
  return (await postCommands(tx, commands, moment)).outcomes;
}

export interface Posted {
  /** One for each command, in order. */
  readonly outcomes: readonly CommandResult[];
  /** Whether there is something to announce: holds that are placed, changed or released are no news to whoever did that. */
  readonly isNews: boolean;
  /** Whether a wallet fell below what its top-up rule wants, and was not known to be there. */
  readonly isTopUpDue: boolean;
}

/** As {@link postBatch}; it says also whether the announcer is to be woken. */
export async function postCommands(tx: Tx, commands: readonly LedgerCommand[], moment: LedgerMoment): Promise<Posted> {
  if (commands.length === 0) return { outcomes: [], isNews: false, isTopUpDue: false };
  const keyed = commands.flatMap((one) =>
    !('op' in one) || one.op === 'capture' || one.op === 'void_lot' ? [one] : [],
  );
  const keys = namedIn(commands, moment);
  const about = commands.filter(isAboutHolds);
  // One round trip. What is named is looked up behind the lock all the same: the server begins with the look-up when the lock is there.
  const looked = [selectForUpdate(tx, keys), findByKeys(tx, keyed), findNamedHolds(tx, about)] as const;
  const guessing = guessLots(tx, commands, moment.lotOwners);
  const [locked, found, foundHolds, guessed] = await Promise.all([...looked, guessing]);
  const { wallets, isNews } = await endInParts(tx, await withMissing(tx, { keys, locked }, moment), moment);
  const restored = restoredKeys(commands, wallets);
  const isFound = wallets === locked && restored.length === 0;
  const known = isFound ? found : await findByKeys(tx, [...keyed, ...restored]);
  // What ended in parts meanwhile is not as it was. Those that are named come last, since they have their texts.
  const named = wallets === locked ? foundHolds : await findNamedHolds(tx, about);
  const holds = [...(await findHoldsOfDue(tx, wallets.values(), moment.now)), ...named];
  const guess = wallets === locked ? guessed : NO_GUESS;
  const lots = await findLots(tx, commands, { ...moment, wallets, known, guess });
  const statuses = await findStatuses(tx, commands, wallets);
  const checkouts = await findCheckouts(tx, commands.filter(isOpening));
  const inFlight = await findInFlight(tx, commands, moment.topUpsInFlight);
  const result = post(commands, { ...moment, wallets, known, holds, ...lots, statuses, checkouts, inFlight });
  const isTopUpDue = await write(tx, result);
  await settleDue(tx, result.outcomes);
  return {
    isTopUpDue,
    outcomes: result.outcomes,
    isNews: isNews || result.entries.length > 0 || result.alerts.length > 0,
  };
}

function isAboutHolds(command: LedgerCommand): command is HoldCommand {
  return 'op' in command && !('lotNo' in command) && command.op !== 'change_status' && !isOpening(command);
}

function isOpening(command: LedgerCommand): command is OpenCheckout {
  return 'op' in command && command.op === 'open_checkout';
}

/** Open holds that are read at once, unless one wallet has more. */
const MOST_HOLDS_READ = 20_000;

/** Ends what is over part by part, where the wallets have so many open holds that all of them are not to be read at once. */
async function endInParts(tx: Tx, wallets: ReadonlyMap<string, Wallet>, moment: LedgerMoment) {
  let due = [...wallets.values()].filter((wallet) => isDue(wallet, moment.now));
  if (countWithin(due, MOST_HOLDS_READ) === due.length) return { wallets, isNews: false };
  let isNews = false;
  while (due.length > 0) {
    const part = due.slice(0, countWithin(due, MOST_HOLDS_READ));
    const sweeps = part.map(({ merchantId, customerId, currency }) => {
      return { op: 'sweep' as const, merchantId, customerId, currency };
    });
    if ((await postCommands(tx, sweeps, moment)).isNews) isNews = true;
    due = due.slice(part.length);
  }
  return { wallets: await selectForUpdate(tx, [...wallets.values()]), isNews };
}

/** Locks every wallet the keys name that exists, merchant by merchant, making the rows of a newly configured currency on the way. */
export async function lockWallets(
  tx: Tx,
  keys: readonly WalletKey[],
  opening: WalletOpening,
): Promise<ReadonlyMap<string, Wallet>> {
  const named = namedIn(keys, opening);
  return withMissing(tx, { keys: named, locked: await selectForUpdate(tx, named) }, opening);
}

/** @returns what was locked, if nothing was missing that can be made */
async function withMissing(
  tx: Tx,
  { keys, locked }: { readonly keys: readonly WalletKey[]; readonly locked: ReadonlyMap<string, Wallet> },
  { now }: WalletOpening,
): Promise<ReadonlyMap<string, Wallet>> {
  const missing = locked.size === keys.length ? [] : keys.filter((key) => !locked.has(walletKeyText(key)));
  if (missing.length === 0 || !(await makeMissing(tx, missing, now))) return locked;
  // All are locked anew and in order: the new rows may sort before ones already held, but nobody else can hold those yet.
  return selectForUpdate(tx, keys);
}

async function selectForUpdate(tx: Tx, keys: readonly WalletKey[]): Promise<ReadonlyMap<string, Wallet>> {
  const wallets = await ofEachMerchantAtOnce(keys, (merchantId, own) =>
    LOCK_WALLETS.all(tx, { merchantId, keys: own }),
  );
  return new Map(wallets.map((wallet) => [walletKeyText(wallet), wallet]));
}

const LOCK_WALLETS = statement({
  name: 'lock-wallets',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: { ...WALLET.shape, at: named('ctid', tid) },
  text: ({ merchantId, keys }) => `
    select ${columns(WALLET.shape, 'w')}, w.ctid
    from wallet w join ${keys('k', { merchantId })} using (merchant_id, customer_id, currency)
    order by w.merchant_id, w.customer_id, w.currency
    for update of w`,
});

async function findByKeys(
  tx: Tx,
  commands: readonly (CustomerKey & Pick<Posting, 'idempotencyKey'>)[],
): Promise<Map<string, Entry>> {
  const keyed = commands.filter(({ idempotencyKey }) => idempotencyKey !== null);
  const entries = await ofEachMerchantAtOnce(keyed, (merchantId, keys) => FIND_BY_KEYS.all(tx, { merchantId, keys }));
  return new Map(entries.map((entry) => [idempotencyText(entry), entry]));
}

/** The merchant's entries under these customers' idempotency keys, in no particular order. */
export async function entriesByKeys(
  db: Queryable,
  merchantId: string,
  keys: readonly { readonly customerId: string; readonly idempotencyKey: string }[],
): Promise<Entry[]> {
  return FIND_BY_KEYS.all(db, { merchantId, keys });
}

/** Looks keys up one by one: in a join, old statistics made the planner read a whole busy wallet for each batch, which cost three quarters of the rate. */
const FIND_BY_KEYS = statement({
  name: 'find-entries-by-keys',
  params: { merchantId: text, keys: rowsOf(pick(ENTRY.shape, 'customerId', 'idempotencyKey')) },
  row: ENTRY.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(ENTRY.shape, 'e')}
    from ${keys('k')}
    cross join lateral (
      select * from entry x
      where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.idempotency_key = k.idempotency_key
      limit 1) as e`,
});

/**
 * Writes entries, the new state of locked wallets and the note that there is something to announce, in one statement a
 * merchant, and lots and alerts, where there are any, in others.
 * @returns whether a wallet came onto the list of those to be filled up
 * @throws {DatabaseError} if one of the wallets is not there, which whoever calls has locked: here, or where the transaction commits
 */
export async function write(
  tx: Tx,
  { wallets, entries, alerts, holds, lots, statuses, checkouts }: BookChanges,
): Promise<boolean> {
  let isTopUpDue = false;
  const ofMerchant = (merchantId: string) => (row: WalletKey) => row.merchantId === merchantId;
  await eachMerchant(wallets, async (merchantId, moved) => {
    const written = entries.filter(ofMerchant(merchantId));
    const rows = { merchantId, written, moved };
    if (holds !== null) isTopUpDue = (await writeWithHolds(tx, rows, holds)) > 0 || isTopUpDue;
    else if (lots !== null) writeWithDraws(tx, rows, lots);
    else tx.withoutWaiting(WRITE.run(tx, { ...rows, count: moved.length + written.length }));
  });
  if (lots !== null && holds !== null) await writeLots(tx, lots);
  await writeStatuses(tx, statuses);
  await insertCheckouts(tx, checkouts);
  await insertAlerts(tx, alerts);
  return isTopUpDue;
}

/**
 * Other statements write these too, where holds change (holds/store.ts) or lots are drawn on (lots/draws.ts). COMMIT may be on its way when this one is answered, so it counts
 * by itself what it wrote, and divides by zero rather than leave something out.
 */
const WRITE = statement({
  name: 'write-postings',
  params: { merchantId: text, written: rowsOf(OWN_ENTRY), moved: rowsOf({ ...OWN_KEY, ...MOVED }), count: bigint },
  row: { whole: integer },
  text: ({ merchantId, written, moved, count }) => `
    with written as (
      insert into entry (merchant_id, ${columns(OWN_ENTRY)})
      select ${merchantId}, ${columns(OWN_ENTRY, 'n')} from ${written('n')}
      returning 1),
    moved as (
      update wallet w
      set ${assignments(MOVED, 'n')}
      from ${moved('n', { merchantId })}
      where ${matches(WALLET_KEY, 'w', 'n')}
      returning 1),
    noted as (
      insert into unannounced_wallet (merchant_id, customer_id, currency)
      select merchant_id, customer_id, currency from ${moved('n', { merchantId })}
      on conflict do nothing)
    select 1 / ((select count(*) from moved) + (select count(*) from written) = ${count})::integer as whole`,
});

/** Every wallet of the merchant's customers, by customer and currency. */
export async function readWallets(
  db: Queryable,
  merchantId: string,
  customerIds: readonly string[],
): Promise<Wallet[]> {
  return READ_WALLETS.all(db, { merchantId, customers: customerIds.map((customerId) => ({ customerId })) });
}

const READ_WALLETS = statement({
  name: 'read-wallets',
  params: { merchantId: text, customers: rowsOf(pick(WALLET.shape, 'customerId')) },
  row: WALLET.shape,
  text: ({ merchantId, customers }) => `
    select ${columns(WALLET.shape, 'w')}
    from wallet w join ${customers('k', { merchantId })} using (merchant_id, customer_id)
    order by w.merchant_id, w.customer_id, w.currency`,
});
