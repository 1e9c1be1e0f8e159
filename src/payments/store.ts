import { eachMerchant, ofEachMerchant } from '../db/by-merchant.ts';
import { text, timestamptz } from '../db/codec.ts';
import { BONUSES_ARE_SPLIT, HOLDS_ARE_PLACED } from '../db/installation.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, matches, omit, type Row, soleRow } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { KEY_VERSION } from '../ledger/keys.ts';
import { readHandled } from './handled-store.ts';
import type { Payment } from './payment.ts';
import type { CaptureRule, DisputeRule, RefundPolicy } from './purpose.ts';
import {
  assemble,
  MOVEMENT,
  OWN_PAYMENT_KEY,
  PART,
  PAYMENT,
  PAYMENT_KEY,
  type PaymentKey,
  paymentKeyText,
} from './tables.ts';

/** A payment, with the settings of its source that apply if it is new. */
export interface OpenedPayment extends PaymentKey {
  readonly provider: string;
  readonly refunds: RefundPolicy;
  readonly disputes: DisputeRule;
  readonly capture: CaptureRule;
}

export interface LockedPayments {
  /** Keys of those that were not heard of before. */
  readonly opened: ReadonlySet<string>;
  /** The payments by {@link paymentKeyText}; to be read when everything that belongs to them is written. */
  read(): Promise<Map<string, Payment>>;
}

/**
 * Locks these payments in sorted order, and creates those that were not heard of before: those are locked and read by that.
 * Payments are always locked before wallets, so that two batches cannot deadlock.
 */
export async function lockPayments(tx: Tx, keys: readonly OpenedPayment[], now: Date): Promise<LockedPayments> {
  const unique = [...new Map(keys.map((key) => [paymentKeyText(key), key])).values()];
  const opened = new Set<string>();
  const isOpened = (key: PaymentKey) => opened.has(paymentKeyText(key));
  const payments = await ofEachMerchant(unique, async (merchantId, own) => {
    const made = await OPEN_PAYMENTS.all(tx, { merchantId, payments: own, now });
    for (const one of made) opened.add(paymentKeyText(one));
    const known = own.filter((key) => !isOpened(key));
    return known.length === 0 ? made : [...made, ...(await LOCK_PAYMENTS.all(tx, { merchantId, keys: known }))];
  });
  const read = () => withHistory(tx, payments, { keys: unique, grown: unique.filter((key) => !isOpened(key)) });
  return { opened, read };
}

/**
 * Adds to the payments their refunds, disputes and movements.
 * @param keys of what may have been handled by hand, also before its payment was heard of
 * @param grown those that may have parts and movements
 * @returns them by {@link paymentKeyText}
 */
export async function withHistory(
  db: Queryable,
  payments: readonly Row<typeof PAYMENT.shape>[],
  { keys, grown = keys }: { readonly keys: readonly PaymentKey[]; readonly grown?: readonly PaymentKey[] },
): Promise<Map<string, Payment>> {
  const parts = await ofEachMerchant(grown, (merchantId, own) => READ_PARTS.all(db, { merchantId, keys: own }));
  const movements = await ofEachMerchant(grown, (merchantId, own) => READ_MOVEMENTS.all(db, { merchantId, keys: own }));
  return assemble(payments, { parts, movements, handled: await readHandled(db, keys) });
}

/** A process of the release before would spend what is held, so while one may run, disputes hold nothing. */
const OPEN_PAYMENTS = statement({
  name: 'open-payments',
  params: {
    merchantId: text,
    payments: rowsOf({ ...OWN_PAYMENT_KEY, provider: text, refunds: text, disputes: text, capture: text }),
    now: timestamptz,
  },
  row: PAYMENT.shape,
  text: ({ merchantId, payments, now }) => `
    insert into payment (merchant_id, source_id, payment_id, provider, refunds, disputes, capture, state, bonus_split, key_version,
      created_at, updated_at)
    select ${merchantId}, source_id, payment_id, provider, refunds, case when ${HOLDS_ARE_PLACED} then disputes else 'record' end,
      capture, 'unknown', ${BONUSES_ARE_SPLIT}, ${KEY_VERSION}, ${now}, ${now}
    from ${payments('k')}
    order by 1, 2, 3
    on conflict do nothing
    returning ${columns(PAYMENT.shape)}`,
});

/**
 * As they are stored; but of what a payment is for nothing was decided yet, its bonus is to be an entry of its own, once no release runs that knows of none.
 */
const LOCKED = columns(PAYMENT.shape, 'p').replace(
  'p.bonus_split',
  `(p.bonus_split or (p.purpose is null and p.postings = 0 and ${BONUSES_ARE_SPLIT})) as bonus_split`,
);

const LOCK_PAYMENTS = statement({
  name: 'lock-payments',
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: PAYMENT.shape,
  text: ({ merchantId, keys }) => `
    select ${LOCKED}
    from (select * from ${keys('k', { merchantId })} order by source_id, payment_id) k
    cross join lateral (select * from payment x where ${soleRow(PAYMENT_KEY, 'x', 'k')} for update) p`,
  textOnCitus: ({ merchantId, keys }) => `
    select ${LOCKED}
    from payment p join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    order by p.merchant_id, p.source_id, p.payment_id
    for update of p`,
});

const READ_PARTS = statement({
  name: 'read-payment-parts',
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: PART.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(PART.shape, 't')}
    from payment_part t join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    order by t.ordinal`,
});

const READ_MOVEMENTS = statement({
  name: 'read-payment-movements',
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: MOVEMENT.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(MOVEMENT.shape, 'm')}
    from payment_movement m join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    order by m.created_at, m.kind, m.movement_id`,
});

/** These payments, without a lock, by {@link paymentKeyText}; those that were not heard of are left out. */
export async function readPayments(db: Queryable, keys: readonly PaymentKey[]): Promise<Map<string, Payment>> {
  const unique = [...new Map(keys.map((key) => [paymentKeyText(key), key])).values()];
  const payments = await ofEachMerchant(unique, (merchantId, own) => READ_PAYMENTS.all(db, { merchantId, keys: own }));
  return withHistory(db, payments, { keys: unique });
}

const READ_PAYMENTS = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: PAYMENT.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(PAYMENT.shape, 'p')}
    from payment p join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)`,
});

/** Notes when the provider first told the same of these payments as we have. */
export async function confirmPayments(tx: Tx, keys: readonly PaymentKey[], now: Date): Promise<void> {
  await eachMerchant(keys, (merchantId, own) => CONFIRM_PAYMENTS.run(tx, { merchantId, keys: own, now }));
}

const CONFIRM_PAYMENTS = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY), now: timestamptz },
  text: ({ merchantId, keys, now }) => `
    update payment p set confirmed_at = ${now}
    from ${keys('k', { merchantId })}
    where ${matches(PAYMENT_KEY, 'p', 'k')} and p.confirmed_at is null`,
});

/** Stores the payments, with one statement each for a merchant's payments, parts and movements. They must be locked. */
export async function savePayments(tx: Tx, payments: readonly Payment[], now: Date): Promise<void> {
  await eachMerchant(payments, async (merchantId, own) => {
    const saved = await SAVE_PAYMENTS.run(tx, { merchantId, payments: own, now });
    invariant(saved === own.length, 'a payment was saved that was not locked');
    const parts = own.flatMap(({ sourceId, paymentId, parts }) =>
      parts.map((part) => ({ ...part, sourceId, paymentId })),
    );
    if (parts.length > 0) await SAVE_PARTS.run(tx, { merchantId, parts, now });
    const movements = own.flatMap(({ sourceId, paymentId, movements }) =>
      movements.map((movement) => ({ ...movement, sourceId, paymentId })),
    );
    if (movements.length > 0) await SAVE_MOVEMENTS.run(tx, { merchantId, movements, now });
  });
}

/** The columns of a payment that are updated. How its keys are made stays as it was first stored. */
const CHANGING = omit(
  PAYMENT.shape,
  'merchantId',
  'sourceId',
  'paymentId',
  'refunds',
  'disputes',
  'capture',
  'keyVersion',
  'moves',
  'keySource',
);

/** By their places, which nobody changes of what is locked. */
const SAVE_PAYMENTS = statement({
  name: 'save-payments',
  params: { merchantId: text, payments: rowsOf({ ...OWN_PAYMENT_KEY, ...CHANGING }), now: timestamptz },
  text: ({ merchantId, payments, now }) => `
    update payment p
    set ${assignments(CHANGING, 'n')}, updated_at = ${now}
    from ${payments('n', { merchantId })}
    where p.ctid = (select x.ctid from payment x where ${soleRow(PAYMENT_KEY, 'x', 'n')})`,
  textOnCitus: ({ merchantId, payments, now }) => `
    update payment p
    set ${assignments(CHANGING, 'n')}, updated_at = ${now}
    from ${payments('n', { merchantId })}
    where ${matches(PAYMENT_KEY, 'p', 'n')}`,
});

const OWN_PART = omit(PART.shape, 'merchantId', 'updatedAt');
const CHANGING_PART = omit(OWN_PART, 'sourceId', 'paymentId', 'kind', 'partId');

const SAVE_PARTS = statement({
  name: 'save-payment-parts',
  params: { merchantId: text, parts: rowsOf(OWN_PART), now: timestamptz },
  text: ({ merchantId, parts, now }) => `
    insert into payment_part as t (merchant_id, ${columns(OWN_PART)}, created_at, updated_at)
    select ${merchantId}, ${columns(OWN_PART, 'n')}, ${now}, ${now}
    from ${parts('n')}
    on conflict (merchant_id, source_id, payment_id, kind, part_id) do update
    set ${assignments(CHANGING_PART, 'excluded')}, updated_at = excluded.updated_at`,
});

const OWN_MOVEMENT = omit(MOVEMENT.shape, 'merchantId');
const CHANGING_MOVEMENT = omit(OWN_MOVEMENT, 'sourceId', 'paymentId', 'kind', 'movementId');

const SAVE_MOVEMENTS = statement({
  name: 'save-payment-movements',
  params: { merchantId: text, movements: rowsOf(OWN_MOVEMENT), now: timestamptz },
  text: ({ merchantId, movements, now }) => `
    insert into payment_movement as m (merchant_id, ${columns(OWN_MOVEMENT)}, created_at, updated_at)
    select ${merchantId}, ${columns(OWN_MOVEMENT, 'n')}, ${now}, ${now}
    from ${movements('n')}
    on conflict (merchant_id, source_id, payment_id, kind, movement_id) do update
    set ${assignments(CHANGING_MOVEMENT, 'excluded')}, updated_at = excluded.updated_at`,
});
