import { ofEachMerchant } from '../db/by-merchant.ts';
import { bigint, integer, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, matches, omit, pick, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { Payment } from './payment.ts';
import { OWN_PAYMENT_KEY, PART, PAYMENT, PAYMENT_KEY, type PaymentKey } from './tables.ts';

/** How a move was asked for. */
export type MoveActor = 'api' | 'cli';

/** A payment was given to another customer, with what was left of it in the wallet of one currency. */
export interface PaymentMove extends PaymentKey {
  /** The number of the move, from 1 for each payment. */
  readonly move: number;
  readonly fromCustomerId: string;
  readonly toCustomerId: string;
  readonly net: number;
  /** What went along of its bonus. */
  readonly bonus: number;
  readonly currency: string | null;
  /** How many entries the payment had caused at the customer it was taken from. */
  readonly entries: number;
  readonly actor: MoveActor;
  readonly reason: string;
  readonly createdAt: Date;
}

const MOVE = table('payment_move', {
  merchantId: text,
  sourceId: text,
  paymentId: text,
  move: integer,
  fromCustomerId: text,
  toCustomerId: text,
  net: bigint,
  bonus: bigint,
  currency: nullable(text),
  entries: integer,
  actor: oneOf<MoveActor>(),
  reason: text,
  createdAt: timestamptz,
});
const OWN_MOVE = omit(MOVE.shape, 'merchantId');

/** The moves of these payments, oldest first. */
export async function movesOf(db: Queryable, keys: readonly PaymentKey[]): Promise<readonly PaymentMove[]> {
  return ofEachMerchant(keys, (merchantId, own) => MOVES_OF.all(db, { merchantId, keys: own }));
}

const MOVES_OF = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: MOVE.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(MOVE.shape, 'm')}
    from payment_move m join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    order by m.move`,
});

/** Stores moves of one payment and its new customer. The payment must be locked. */
export async function saveMoves(tx: Tx, key: PaymentKey, moves: readonly PaymentMove[]): Promise<void> {
  await SAVE_MOVES.run(tx, { merchantId: key.merchantId, moves });
}

const SAVE_MOVES = statement({
  params: { merchantId: text, moves: rowsOf(OWN_MOVE) },
  text: ({ merchantId, moves }) => `
    with made as (
      insert into payment_move (merchant_id, ${columns(OWN_MOVE)})
      select ${merchantId}, ${columns(OWN_MOVE, 'n')} from ${moves('n')}
      returning merchant_id, source_id, payment_id, move, to_customer_id, created_at),
    newest as (
      select merchant_id, source_id, payment_id, to_customer_id, max(move) as move, max(created_at) as created_at
      from made group by 1, 2, 3, 4)
    update payment p set customer_id = n.to_customer_id, moves = n.move, updated_at = greatest(p.updated_at, n.created_at)
    from newest n
    where p.merchant_id = ${merchantId} and p.source_id = n.source_id and p.payment_id = n.payment_id`,
});

/** Stores which holds the disputes of a payment have. The payment must be locked. */
export async function saveHoldsOf(tx: Tx, { merchantId, sourceId, paymentId, parts }: Payment): Promise<void> {
  await SAVE_HOLDS.run(tx, { merchantId, parts: parts.map((part) => ({ ...part, sourceId, paymentId })) });
}

const HOLDS_OF_PART = pick(PART.shape, 'holdWanted', 'holdNo', 'holds');
const PART_KEY = pick(PART.shape, 'sourceId', 'paymentId', 'kind', 'partId');

const SAVE_HOLDS = statement({
  params: { merchantId: text, parts: rowsOf({ ...PART_KEY, ...HOLDS_OF_PART }) },
  text: ({ merchantId, parts }) => `
    update payment_part t set ${assignments(HOLDS_OF_PART, 'n')}
    from ${parts('n', { merchantId })}
    where ${matches({ ...PAYMENT_KEY, ...PART_KEY }, 't', 'n')}`,
});

/** Stores what is lost of the bonus of a payment to its new customer. The payment must be locked. */
export async function saveLossesOf(
  tx: Tx,
  { merchantId, sourceId, paymentId }: PaymentKey,
  { bonusLost, bonusLostBefore }: Pick<Payment, 'bonusLost' | 'bonusLostBefore'>,
): Promise<void> {
  await SAVE_LOSSES.run(tx, { merchantId, sourceId, paymentId, bonusLost, bonusLostBefore });
}

const SAVE_LOSSES = statement({
  params: { merchantId: text, sourceId: text, paymentId: text, bonusLost: bigint, bonusLostBefore: bigint },
  text: ({ merchantId, sourceId, paymentId, bonusLost, bonusLostBefore }) => `
    update payment set bonus_lost = ${bonusLost}, bonus_lost_before = ${bonusLostBefore}
    where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id = ${paymentId}`,
});

/** Stores which rounds of the payment's disputes hold nothing any more. The payment must be locked. */
export async function saveLifted(tx: Tx, { merchantId, sourceId, paymentId, parts }: Payment): Promise<void> {
  const lifted = parts.filter((part) => part.lifted !== null).map((part) => ({ ...part, sourceId, paymentId }));
  await SAVE_LIFTED.run(tx, { merchantId, parts: lifted });
}

const LIFTED = pick(PART.shape, 'lifted');

const SAVE_LIFTED = statement({
  params: { merchantId: text, parts: rowsOf({ ...PART_KEY, ...LIFTED }) },
  text: ({ merchantId, parts }) => `
    update payment_part t set ${assignments(LIFTED, 'n')}
    from ${parts('n', { merchantId })}
    where ${matches({ ...PAYMENT_KEY, ...PART_KEY }, 't', 'n')}`,
});

/** Locks a payment that was heard of, before any wallet. */
export async function lockPayment(tx: Tx, key: PaymentKey): Promise<void> {
  await LOCK_PAYMENT.run(tx, key);
}

const LOCK_PAYMENT = statement({
  params: { merchantId: text, sourceId: text, paymentId: text },
  row: { paymentId: PAYMENT.shape.paymentId },
  text: ({ merchantId, sourceId, paymentId }) => `
    select payment_id from payment
    where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id = ${paymentId} for update`,
});
