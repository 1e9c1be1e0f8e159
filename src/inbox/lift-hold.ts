import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { type Tx, transaction } from '../db/transaction.ts';
import { InvariantError, invariant, RefusalError, refuse } from '../errors.ts';
import type { Hold, HoldKey } from '../ledger/holds/hold.ts';
import { getHold } from '../ledger/holds/read.ts';
import { type LedgerSettings, postBatch } from '../ledger/store.ts';
import { withHoldNos, withLifted } from '../payments/dispute-holds.ts';
import { paymentHolding } from '../payments/lookups.ts';
import { lockPayment, saveHoldsOf, saveLifted } from '../payments/move-store.ts';
import type { Payment, PaymentPart } from '../payments/payment.ts';
import { readPayments } from '../payments/store.ts';
import { type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import { settledHolds } from './settle-holds.ts';

export interface LiftServices {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
}

export interface Lifting {
  readonly hold: HoldKey;
  /** It stands on the hold. */
  readonly reason: string;
  readonly actor: 'cli';
}

/** Another source or customer may get the payment between the moment it is found and the one it is locked in. */
const MOST_TRIES = 10;

/**
 * Releases the hold of an open dispute whose end no news told: the provider has no API that could be asked. This round of the dispute holds
 * nothing any more, whatever is told of it; a later round does again. What losing it takes is taken as ever.
 * @throws {RefusalError} HOLD_NOT_FOUND, HOLD_NOT_OPEN; INVALID_FIELD for one that is of no dispute; UNSUPPORTED_CURRENCY for one that has no wallets any more
 */
export async function liftHold(services: LiftServices, lifting: Lifting): Promise<Hold> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const lifted = await transaction(services.pool, (tx) => lift(tx, services, lifting));
    if (lifted !== 'moved') return lifted;
  }
  throw new InvariantError('no dispute has the hold of a dispute');
}

async function lift(tx: Tx, { settings, clock }: LiftServices, lifting: Lifting): Promise<Hold | 'moved'> {
  const { hold: key, reason, actor } = lifting;
  const found = (await getHold(tx, key)) ?? refuse({ code: 'HOLD_NOT_FOUND' });
  if (found.kind !== 'dispute')
    refuse({ code: 'INVALID_FIELD', field: 'hold_id', wants: 'wants a hold of a dispute; others are released' });
  if (found.state !== 'open') refuse({ code: 'HOLD_NOT_OPEN', state: found.state });
  const named = await paymentHolding(tx, key);
  if (named === null) return 'moved';
  const locked = await lockedPart(tx, named, key);
  if (locked === null) return 'moved';
  const now = clock.now();
  const lifted = withLifted(locked.payment, locked.part, { actor, now });
  const { command, after } = settledHolds(lifted, { reason, releaseReason: reason });
  invariant(command !== null, 'a hold that is lifted changes nothing');
  const [result] = await postBatch(tx, [command], { ...settings, now });
  if (result?.kind === 'refused') throw new RefusalError(result.refusal);
  invariant(result?.kind === 'disputes_held', 'a hold was lifted without a result');
  await saveHoldsOf(tx, withHoldNos(after, command.disputes, result.holdNos));
  await saveLifted(tx, lifted);
  return (await getHold(tx, key)) ?? refuse({ code: 'HOLD_NOT_FOUND' });
}

/** The dispute that has the hold, its payment locked; null if it has it no more. */
async function lockedPart(
  tx: Tx,
  key: PaymentKey,
  { customerId, currency, holdNo }: HoldKey,
): Promise<{ readonly payment: Payment; readonly part: PaymentPart } | null> {
  await lockPayment(tx, key);
  const payment = (await readPayments(tx, [key])).get(paymentKeyText(key));
  if (payment === undefined || payment.customerId !== customerId || payment.currency !== currency) return null;
  const part = payment.parts.find((one) => one.holdNo === holdNo);
  return part === undefined ? null : { payment, part };
}
