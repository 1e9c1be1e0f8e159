import { eachMerchant, ofEachMerchant, ofEachMerchantAtOnce } from '../../db/by-merchant.ts';
import { bigint, integer, nullable, oneOf, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, matches, omit, pick } from '../../db/table.ts';
import type { Tx } from '../../db/transaction.ts';
import { type CustomerKey, type Entry, idempotencyText, type Wallet, type WalletKey, walletKeyText } from '../entry.ts';
import type { LedgerCommand } from '../post.ts';
import { CLOSED_LOT, LOT, LOT_CHANGE, LOT_MOVEMENT, OWN_KEY, WALLET_KEY } from '../tables.ts';
import { atKeys, COUNT, whole } from '../written.ts';
import { type Lot, type LotChanges, type LotKey, type LotMovement, lotId, lotKeyText, MOST_CHANGES } from './lot.ts';
import type { LotOwners } from './owners.ts';
import { type Debited, FEW_LOTS, isStill, merelyDebited } from './reach.ts';

/** A lot as it is read, whether it is open or closed. */
export const READ_LOT = { ...LOT.shape, state: oneOf<Lot['state']>(), closedAt: nullable(timestamptz) };

/** SQL for the lots that a condition on `x` names, in the order of {@link READ_LOT}. */
export const OPEN_LOT_ROWS = `${columns(LOT.shape, 'x')}, 'open' as state, null::timestamptz as closed_at from lot x`;
const CLOSED_COLUMNS = columns(LOT.shape, 'x').replace('x.remaining', '0::bigint as remaining');
export const CLOSED_LOT_ROWS = `${CLOSED_COLUMNS}, x.state, x.closed_at from closed_lot x`;

/** The keys of entries that commands restore, in wallets that ever had a lot. */
export function restoredKeys(
  commands: readonly LedgerCommand[],
  wallets: ReadonlyMap<string, Wallet>,
): readonly (CustomerKey & { readonly idempotencyKey: string })[] {
  const restoring = commands.filter((command) => !('op' in command) && command.restores !== undefined);
  return restoring.flatMap((command) => {
    if ('op' in command || command.restores === undefined) return [];
    if ((wallets.get(walletKeyText(command))?.lotSeq ?? 0) === 0) return [];
    const { merchantId, customerId } = command;
    return command.restores.map((idempotencyKey) => ({ merchantId, customerId, idempotencyKey }));
  });
}

interface Found {
  readonly wallets: ReadonlyMap<string, Wallet>;
  /** Among them those under {@link restoredKeys}. */
  readonly known: ReadonlyMap<string, Entry>;
  readonly now: Date;
  readonly guess: GuessedLots;
  readonly lotOwners?: LotOwners;
}

interface GuessedLots {
  /** Of a wallet either all open ones, or as far as its debits reach. */
  readonly lots: readonly Lot[];
  readonly debited?: ReadonlyMap<string, Debited>;
}

/** Where what was read by a guess may not be so any more. */
export const NO_GUESS: GuessedLots = { lots: [] };

/**
 * The lots that debits may draw on in wallets that had some when they were last seen. It is sent behind the lock without waiting for it, and a
 * round trip is saved where the guess is right.
 */
export async function guessLots(
  tx: Tx,
  commands: readonly LedgerCommand[],
  owners: LotOwners | undefined,
): Promise<GuessedLots> {
  const having = owners === undefined ? [] : commands.filter((command) => owners.openLotsOf(command) > 0);
  if (owners === undefined || having.length === 0) return NO_GUESS;
  const debited = merelyDebited(commands);
  const keys = [...new Set(having.map(walletKeyText))].flatMap((text) => debited.get(text) ?? []);
  const [many, few] = [true, false].map((isMany) => keys.filter((key) => owners.openLotsOf(key) > FEW_LOTS === isMany));
  const found = await Promise.all([
    ofEachMerchantAtOnce(few ?? [], (merchantId, own) => OPEN_LOTS.all(tx, { merchantId, keys: own })),
    ofEachMerchantAtOnce(many ?? [], (merchantId, own) => FIRST_LOTS.all(tx, { merchantId, keys: own })),
  ]);
  return { lots: found.flat(), debited };
}

interface FoundLots {
  readonly lots: readonly Lot[];
  readonly movements: readonly LotMovement[];
  /** How many of its open lots were not read of each wallet, by {@link walletKeyText}. */
  readonly unread: ReadonlyMap<string, number>;
}

/**
 * The lots that a batch may have to do with: the open ones of locked wallets that have any, all of them or as far as its debits reach
 * (reach.ts), and closed ones that its commands name or restore, with what was moved there. No statement is made for what there is none of.
 */
export async function findLots(
  tx: Tx,
  commands: readonly LedgerCommand[],
  { wallets, known, now, guess, lotOwners }: Found,
): Promise<FoundLots> {
  lotOwners?.note(wallets);
  const having = [...wallets.values()].filter(({ openLots }) => openLots > 0);
  const undone = restoredKeys(commands, wallets).flatMap((key) => known.get(idempotencyText(key)) ?? []);
  const movements = await ofEachMerchant(undone, (merchantId, keys) => MOVEMENTS_OF.all(tx, { merchantId, keys }));
  const named = [...commands.flatMap((command): LotKey[] => ('lotNo' in command ? [command] : [])), ...movements];
  if (having.length === 0 && named.length === 0) return { lots: [], movements, unread: new Map() };
  const guessed = Map.groupBy(guess.lots, walletKeyText);
  const debited = guess.debited ?? merelyDebited(commands);
  // What was guessed rightly; wallets to be read as far as debits reach; wallets to be read wholly.
  const [right, reached, others]: [Lot[], Debited[], Wallet[]] = [[], [], []];
  const unread = new Map<string, number>();
  for (const wallet of having) {
    const text = walletKeyText(wallet);
    const lots = guessed.get(text);
    const taken = debited.get(text);
    const isInReach = taken !== undefined && isStill(wallet, now);
    if (lots !== undefined && (isInReach || lots.length === wallet.openLots)) {
      for (const lot of lots) right.push(lot);
      unread.set(text, wallet.openLots - lots.length);
    } else if (isInReach && wallet.openLots > FEW_LOTS) {
      reached.push(taken);
      unread.set(text, wallet.openLots);
    } else others.push(wallet);
  }
  const [closed, open, first] = await Promise.all([
    ofEachMerchantAtOnce(named, (merchantId, keys) => CLOSED_LOTS.all(tx, { merchantId, keys })),
    ofEachMerchantAtOnce(others, (merchantId, keys) => OPEN_LOTS.all(tx, { merchantId, keys })),
    ofEachMerchantAtOnce(reached, (merchantId, keys) => FIRST_LOTS.all(tx, { merchantId, keys })),
  ]);
  for (const lot of first) {
    const text = walletKeyText(lot);
    unread.set(text, (unread.get(text) ?? 0) - 1);
  }
  return { lots: [...closed, ...right, ...first, ...(await withPausesCounted(tx, open, commands))], movements, unread };
}

/** Of lots that were changed often and are to be changed again, how many changes nobody asked for. */
async function withPausesCounted(
  tx: Tx,
  open: readonly Lot[],
  commands: readonly LedgerCommand[],
): Promise<readonly Lot[]> {
  const asked = new Set(
    commands.flatMap((command) => ('op' in command && command.op === 'change_lot' ? [lotText(command)] : [])),
  );
  const often = open.filter((lot) => lot.changes >= MOST_CHANGES && asked.has(lotText(lot)));
  if (often.length === 0) return open;
  const found = await ofEachMerchant(often, (merchantId, keys) => CHANGES_ASKED_FOR.all(tx, { merchantId, keys }));
  const askedFor = new Map(found.map(({ count, ...key }) => [lotText(key), count]));
  return open.map((lot) => {
    const count = askedFor.get(lotText(lot));
    return count === undefined ? lot : { ...lot, changedByPauses: lot.changes - count };
  });
}

const MOVEMENTS_OF = statement({
  params: { merchantId: text, keys: rowsOf({ ...OWN_KEY, seq: bigint }) },
  row: LOT_MOVEMENT.shape,
  text: ({ merchantId, keys }) => `
    select distinct h.*
    from ${keys('k')}
    cross join lateral (
      select ${columns(LOT_MOVEMENT.shape, 'x')} from lot_movement x
      where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.currency = k.currency and x.seq = k.seq) h`,
});

/** The open lots of wallets, in no particular order. */
const OPEN_LOTS = statement({
  name: 'find-open-lots',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: READ_LOT,
  text: ({ merchantId, keys }) => `
    select h.*
    from ${keys('k', { merchantId })}
    cross join lateral (
      select ${OPEN_LOT_ROWS}
      where x.merchant_id = k.merchant_id and x.customer_id = k.customer_id and x.currency = k.currency
      offset 0) h`,
});

/** The open lots that are spent first, until what is in them is as much as the debits take: in the order of drain.ts. */
const FIRST_LOTS = statement({
  name: 'find-lots-in-reach',
  params: { merchantId: text, keys: rowsOf({ ...OWN_KEY, debited: bigint }) },
  row: READ_LOT,
  text: ({ merchantId, keys }) => `
    select ${columns(READ_LOT, 'h')}
    from ${keys('k')}
    cross join lateral (
      select o.*, sum(o.remaining) over (
        order by o.priority, o.expires_at nulls last, (o.kind = 'promo') desc, o.lot_no rows between unbounded preceding and 1 preceding) as before
      from (
        select ${OPEN_LOT_ROWS}
        where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.currency = k.currency) o) h
    where coalesce(h.before, 0) < k.debited`,
});

const lotText = (key: LotKey) => `${key.merchantId} ${lotId(key)}`;

/** A person says why; the end of a pause does not. */
const CHANGES_ASKED_FOR = statement({
  params: { merchantId: text, keys: rowsOf(pick(LOT.shape, 'customerId', 'currency', 'lotNo')) },
  row: { ...pick(LOT.shape, 'merchantId', 'customerId', 'currency', 'lotNo'), count: bigint },
  text: ({ merchantId, keys }) => `
    select ${merchantId} as merchant_id, k.customer_id, k.currency, k.lot_no, c.count
    from ${keys('k')}
    cross join lateral (
      select count(*) as count from lot_change c
      where c.merchant_id = ${merchantId} and c.customer_id = k.customer_id and c.currency = k.currency and c.lot_no = k.lot_no
        and c.reason is not null) c`,
});

const CLOSED_LOTS = statement({
  params: { merchantId: text, keys: rowsOf(pick(LOT.shape, 'customerId', 'currency', 'lotNo')) },
  row: READ_LOT,
  text: ({ merchantId, keys }) => `
    select distinct h.*
    from ${keys('k', { merchantId })}
    cross join lateral (
      select ${CLOSED_LOT_ROWS}
      where x.merchant_id = k.merchant_id and x.customer_id = k.customer_id and x.currency = k.currency and x.lot_no = k.lot_no) h`,
});

const OWN_LOT = omit(LOT.shape, 'merchantId');
const OWN_CLOSED = omit(CLOSED_LOT.shape, 'merchantId');
const CLOSED_NUMBERS = omit(OWN_CLOSED, 'name');
const OWN_MOVEMENT = omit(LOT_MOVEMENT.shape, 'merchantId');
const OWN_CHANGE = omit(LOT_CHANGE.shape, 'merchantId');
const LOT_KEY = { ...WALLET_KEY, lotNo: bigint };

/**
 * Writes what a batch changes about lots, in one statement a merchant. The wallets are written before, and locked.
 * Those that are known are read first and kept: Citus carries out the parts of a statement one after another, and would find new ones among them.
 * @throws {DatabaseError} if a lot that changes or closes was not there, or one that is new was
 */
export async function writeLots(tx: Tx, lots: LotChanges): Promise<void> {
  const { open, closed, movements, changes, opened } = lots;
  const touched = [...new Set([...open, ...closed].map(({ merchantId }) => merchantId))].map((merchantId) => ({
    merchantId,
  }));
  await eachMerchant(touched, async (merchantId) => {
    const own = <Item extends WalletKey>(rows: readonly Item[]) => rows.filter((row) => row.merchantId === merchantId);
    // Those that were opened in the same batch are not there before it.
    const known = own([...open, ...closed]).filter((lot) => !opened.has(lotKeyText(lot)));
    await WRITE_LOTS.run(tx, {
      merchantId,
      opened: own(open),
      closed: own(closed),
      movements: own(movements),
      changes: own(changes),
      count: known.length,
    });
  });
}

/** A name that was struck out meanwhile stays so. */
const WRITE_LOTS = statement({
  name: 'write-lots',
  params: {
    merchantId: text,
    opened: rowsOf(OWN_LOT),
    closed: rowsOf(OWN_CLOSED),
    movements: rowsOf(OWN_MOVEMENT),
    changes: rowsOf(OWN_CHANGE),
    ...COUNT,
  },
  row: { whole: integer },
  text: ({ merchantId, opened, closed, movements, changes, count }) => `
    with known as materialized (
      select 1 from ${opened('n', { merchantId })} cross join lateral (
        select 1 from lot x where ${matches(LOT_KEY, 'x', 'n')} limit 1) x),
    opened as (
      insert into lot (merchant_id, ${columns(OWN_LOT)})
      select ${merchantId}, ${columns(OWN_LOT, 'n')} from ${opened('n')}
      on conflict (merchant_id, customer_id, currency, lot_no)
      do update set priority = excluded.priority, remaining = excluded.remaining, spent = excluded.spent, expired = excluded.expired,
        voided = excluded.voided, taken_back = excluded.taken_back, expires_at = excluded.expires_at, notices = excluded.notices,
        changes = excluded.changes),
    gone as (
      delete from lot l
      where ${atKeys({ table: 'lot', alias: 'l', key: LOT_KEY, merchant: merchantId }, closed('n', { merchantId }))}
      returning l.merchant_id, l.customer_id, l.currency, l.lot_no, l.name),
    closed as (
      insert into closed_lot (merchant_id, ${columns(CLOSED_NUMBERS)}, name)
      select n.merchant_id, ${columns(CLOSED_NUMBERS, 'n')}, case when g.lot_no is null then n.name else g.name end
      from ${closed('n', { merchantId })} left join gone g on ${matches(LOT_KEY, 'g', 'n')}),
    moved as (
      insert into lot_movement (merchant_id, ${columns(OWN_MOVEMENT)})
      select ${merchantId}, ${columns(OWN_MOVEMENT, 'n')} from ${movements('n')}),
    changed as (
      insert into lot_change (merchant_id, ${columns(OWN_CHANGE)})
      select ${merchantId}, ${columns(OWN_CHANGE, 'n')} from ${changes('n')})
    select ${whole(['known', 'gone'], count)}`,
});
