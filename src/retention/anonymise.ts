import { z } from 'zod';
import type { Clock } from '../clock.ts';
import {
  type CustomerErasure,
  dueErasures,
  type ErasureStep,
  eraseCustomer,
  putOffErasure,
  saveErasureStep,
} from '../customers/erase.ts';
import { Failures } from '../db/failures.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, transaction } from '../db/transaction.ts';
import { eraseBodies } from '../inbox/old-bodies.ts';
import { eraseCheckoutTexts } from '../ledger/checkouts/store.ts';
import type { CustomerKey } from '../ledger/entry.ts';
import { eraseTexts } from '../ledger/erase-texts.ts';
import { countMessagesOf, forgetMessagesOf } from '../outgoing/embedded/old-messages.ts';
import { paymentsOfCustomer } from '../payments/lookups.ts';
import { eraseEntryTexts } from '../schedules/entry-store.ts';
import { eraseScheduleNames } from '../schedules/grant-store.ts';
import type { Logger } from '../telemetry/log.ts';
import { endTopUpRulesOf } from '../top-ups/end.ts';

/**
 * Erasing what is known of a customer, while the books stay whole: docs/decisions/0018-erasure.md. What the customers' tables hold goes
 * at once; events, entries' texts and messages go piece by piece, and what is in dispute once that has ended.
 */

export interface AnonymiseServices {
  readonly pool: Pool;
  readonly clock: Clock;
}

/** Pieces that the one who asks waits for: those of 100,000 payments of the merchant. A worker does the others. */
const PIECES_AT_ONCE = 20;
const MESSAGES_A_PIECE = 500;
/** What is in dispute or not delivered is looked at again after this time. */
const AGAIN_AFTER_MS = 86_400_000;

/**
 * Erases the customer's personal data. Asked again, it erases what has come since, and is otherwise without effect.
 * @returns how far it has come; a worker does what is left
 * @throws {RefusalError} CUSTOMER_NOT_FOUND
 */
export async function anonymiseCustomer(
  { pool, clock }: AnonymiseServices,
  request: CustomerKey & { readonly withTexts: boolean },
): Promise<CustomerErasure> {
  // Nobody is charged any more who is not known any more.
  await transaction(pool, (tx) => endTopUpRulesOf(tx, request, clock.now()));
  const begun = await transaction(pool, (tx) => eraseCustomer(tx, request, clock.now()));
  return work(autocommit(pool), begun, { clock, mayGoOn: (pieces) => pieces < PIECES_AT_ONCE });
}

/** How many erasures a run of the worker takes up; what it leaves, the next one finds. */
const MOST_ERASURES = 100;

/** The job, which also forgets what is old, is given up after an hour. */
const MOST_LOST_MS = 10 * 60_000;

/** One that failed is looked at again after this time, so that many of them leave the run to others. */
const FAILED_AGAIN_AFTER_MS = 3_600_000;

/**
 * Goes on with what was not finished, or could not be erased then. One that fails is put off, and no other waits for it.
 * @returns how many erasures were finished
 * @throws {unknown} at the end, what failed first; at once if the database is away
 */
export async function goOnErasing({
  pool,
  clock,
  logger,
  signal,
}: AnonymiseServices & { readonly logger: Logger; readonly signal?: AbortSignal }): Promise<number> {
  const db = autocommit(pool);
  const failures = new Failures(MOST_LOST_MS);
  let finished = 0;
  for (const erasure of await dueErasures(db, clock.now(), MOST_ERASURES)) {
    if (signal?.aborted) break;
    const { merchantId, customerId } = erasure;
    const whose = { merchantId, customerId };
    const warn = (err: unknown) => logger.warn({ err, ...whose }, 'an erasure could not go on');
    const notPutOff = (err: unknown) => logger.warn({ err, ...whose }, 'an erasure could not be put off');
    const goOn = () => work(db, erasure, { clock, mayGoOn: () => !signal?.aborted });
    const after = await failures.outlive(goOn, warn);
    if (after === null) {
      const until = new Date(clock.now().getTime() + FAILED_AGAIN_AFTER_MS);
      await failures.outlive(() => putOffErasure(db, erasure, until), notPutOff);
    } else if (after.finishedAt !== null) finished += 1;
  }
  failures.rethrow();
  return finished;
}

interface Working {
  readonly clock: Clock;
  readonly mayGoOn: (pieces: number) => boolean;
}

/** Works until it is done, may not go on, or somebody asked again: whoever asked goes on then, and may want more. */
async function work(db: Queryable, begun: CustomerErasure, { clock, mayGoOn }: Working): Promise<CustomerErasure> {
  let erasure = begun;
  for (let pieces = 0; mayGoOn(pieces); pieces += 1) {
    const { isOver, ...step } = await nextPiece(db, erasure, clock.now());
    const saved = await saveErasureStep(db, erasure, step);
    if (saved === null) break;
    erasure = saved;
    if (isOver) break;
  }
  return erasure;
}

const textPlace = z.union([
  z.object({ currency: z.string(), seq: z.int() }),
  z.object({ currency: z.string(), holdNo: z.int() }),
  z.object({ currency: z.string(), lotNo: z.int() }),
  z.object({ currency: z.string(), changeNo: z.int() }),
]);
const paymentPlace = z.object({ sourceId: z.string(), paymentId: z.string() });

type Piece = ErasureStep & { readonly isOver: boolean };

async function nextPiece(db: Queryable, erasure: CustomerErasure, now: Date): Promise<Piece> {
  const { phase, place, withTexts } = erasure;
  // A pass begins with the entries, and counts anew what it has to keep.
  const kept = phase === 'entries' && place === null ? 0 : erasure.kept;
  const piece: Piece = {
    ...{ phase, place: null, entries: 0, events: 0, messages: 0, kept },
    ...{ notBefore: null, finishedAt: null, isOver: false },
  };
  switch (phase) {
    case 'entries': {
      if (!withTexts) return { ...piece, phase: 'payments' };
      if (place === null) {
        await eraseEntryTexts(db, erasure);
        await eraseScheduleNames(db, erasure);
        await eraseCheckoutTexts(db, erasure);
      }
      const { erased, place: next } = await eraseTexts(db, erasure, place === null ? null : textPlace.parse(place));
      return { ...piece, entries: erased, place: next, phase: next === null ? 'payments' : phase };
    }
    case 'payments': {
      const found = await paymentsOfCustomer(db, erasure, place === null ? null : paymentPlace.parse(place));
      const bodies = await eraseBodies(db, erasure.merchantId, found.keys);
      const counts = { events: bodies.taken, kept: kept + bodies.left, place: found.place };
      return { ...piece, ...counts, phase: found.place === null ? 'messages' : phase };
    }
    case 'messages': {
      const messages = await forgetMessagesOf(db, erasure, MESSAGES_A_PIECE);
      if (messages === MESSAGES_A_PIECE) return { ...piece, messages };
      const left = kept + (await countMessagesOf(db, erasure));
      if (left === 0) return { ...piece, messages, finishedAt: now, isOver: true };
      const notBefore = new Date(now.getTime() + AGAIN_AFTER_MS);
      return { ...piece, messages, kept: left, notBefore, isOver: true, phase: 'entries' };
    }
  }
}
