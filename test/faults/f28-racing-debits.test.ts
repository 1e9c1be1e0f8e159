import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { systemClock } from '../../src/clock.ts';
import { onCitus } from '../../src/db/backend.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import type { PostingResult } from '../../src/ledger/post.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { publicRefusal } from '../../src/views/refusals.ts';
import { FaultRig } from '../support/fault-rig.ts';
import type { TrafficAnswer } from '../support/fault-traffic.ts';
import { posting, SETTINGS } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { WebFleet } from '../support/web-fleet.ts';

/**
 * F28: 200 callers debit one wallet at the same moment, over 50 connections. Those debits are accepted that the wallet can
 * pay for, and no others; it is below zero at none of its versions; whoever is refused is told what was there.
 */
const DEBITS = 200;
const CONNECTIONS = 50;
const PROCESSES = 4;

let rig: FaultRig;
let fleet: WebFleet;
let pool: Pool;

beforeAll(async () => {
  rig = await FaultRig.start();
  const logger = createLogger('silent', 'test');
  const { ownerUrl: databaseUrl } = rig.database;
  // Fifty transactions at once on one wallet are this test's alone: the service has one for each batcher of a process. Whoever waits for a row that changes is overtaken by those
  // who come later, so the last may wait for nearly all 200, each of which takes many times as many round trips on Citus: on a busy machine longer than the service lets a statement.
  const statementTimeoutMs = onCitus() ? 60_000 : 15_000;
  const settings = { databaseUrl, applicationName: 'test-races', maxConnections: CONNECTIONS, logger };
  pool = createPool({ ...settings, statementTimeoutMs });
  // As long as the rig's own waits for a connection, which is longer on Citus.
  pool.options.connectionTimeoutMillis = rig.database.pool.options.connectionTimeoutMillis;
  [fleet] = await Promise.all([WebFleet.start(rig, PROCESSES, CONNECTIONS), rig.startWebHere(), rig.startWorkerHere()]);
});

afterAll(async () => {
  await fleet.close();
  await pool.end();
  await rig.close();
});

interface Debit {
  readonly customerId: string;
  readonly amountMinor: number;
  readonly key: string;
}

/** What a caller was told: the balance that its debit left, or why it was refused. */
type Reply = { readonly balance: number } | { readonly code: string; readonly details: unknown };

interface Way {
  readonly name: string;
  /** How keys of callers are stored. */
  readonly prefix: string;
  readonly debit: (debit: Debit, caller: number) => Promise<Reply>;
}

const debitPosting = ({ customerId, amountMinor, key: idempotencyKey }: Debit) =>
  posting({ customerId, amountMinor, idempotencyKey, isCredit: false });

function replyOf(outcome: PostingResult | undefined): Reply {
  if (outcome?.kind === 'created') return { balance: outcome.wallet.balance };
  if (outcome?.kind === 'refused') {
    const { code, details } = publicRefusal(outcome.refusal);
    return { code, details };
  }
  throw new Error(`a debit came to ${outcome?.kind}`);
}

function replyByHttp({ status, body }: TrafficAnswer): Reply {
  if (status === 200) return { balance: body.balance };
  const { code, message, ...details } = body ?? {};
  expect([status, message]).toEqual([400, expect.stringContaining('Insufficient balance')]);
  return { code, details };
}

let batchers: readonly LedgerBatches[] = [];
beforeAll(() => {
  const settings = { pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} };
  batchers = Array.from({ length: PROCESSES }, () => new LedgerBatches(settings));
});

const WAYS: readonly Way[] = [
  {
    name: 'in a transaction each',
    prefix: '',
    async debit(debit) {
      const [outcome] = await transaction(pool, (tx) =>
        postBatch(tx, [debitPosting(debit)], { ...SETTINGS, now: new Date() }),
      );
      return replyOf(outcome);
    },
  },
  {
    name: 'through the batchers of four ledgers',
    prefix: '',
    debit: async (debit, caller) => replyOf(await batchers[caller % PROCESSES]?.post(debitPosting(debit))),
  },
  {
    name: 'at four web processes',
    prefix: 'api:',
    async debit({ customerId, amountMinor: amount, key: idempotency_key }, caller) {
      const body = { amount, currency: 'USD', entry_type: 'debit', idempotency_key };
      return replyByHttp(await fleet.call(caller, 'POST', `/customers/${customerId}/wallets/ledger-entries`, body));
    },
  },
];

interface Race {
  readonly openingMinor: number;
  readonly sizesMinor: readonly number[];
}

const total = (amounts: readonly number[]): number => amounts.reduce((sum, amount) => sum + amount, 0);

const size = fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.constantFrom(1, 10, 100_000));
/** Of any sizes, or all of one; and a wallet that can pay for none of them, some, or all. */
const race: fc.Arbitrary<Race> = fc
  .record({
    percent: fc.integer({ min: 0, max: 101 }),
    sizesMinor: fc.oneof(
      fc.array(size, { minLength: DEBITS, maxLength: DEBITS }),
      size.map((one) => Array.from({ length: DEBITS }, () => one)),
    ),
  })
  .map(({ percent, sizesMinor }) => ({ openingMinor: Math.floor((total(sizesMinor) * percent) / 100), sizesMinor }));

const THIRTY_OF_200: Race = { openingMinor: 300, sizesMinor: Array.from({ length: DEBITS }, () => 10) };

it.each(WAYS)(
  '200 racing debits $name: exactly those that the wallet can pay for, whatever their sizes',
  async (way) => {
    await fc.assert(
      fc.asyncProperty(race, (one) => expectFairRace(way, one)),
      // A race cannot be run again as it was, so there is nothing to shrink.
      { numRuns: rounds(4, 40), examples: [[THIRTY_OF_200]], endOnFailure: true },
    );
    // Ledgers outside of the service tell its announcer of nothing; the credit of a customer does.
    await rig.traffic.newCustomer(1);
    await rig.expectAllWell();
  },
  300_000,
);

interface EntryRow {
  readonly seq: number;
  readonly amount: number;
  readonly is_credit: boolean;
  readonly before_balance: number;
  readonly after_balance: number;
  readonly idempotency_key: string | null;
}

const REFUSAL = z.strictObject({ available: z.int(), required: z.int(), shortfall: z.int() });

const ENTRIES = `
  select seq, amount, is_credit, before_balance, after_balance, idempotency_key
  from entry where customer_id = $1 and currency = 'USD' order by seq`;

async function expectFairRace(way: Way, { openingMinor, sizesMinor }: Race): Promise<void> {
  const customerId = await rig.traffic.newCustomer(openingMinor);
  const debits = sizesMinor.map((amountMinor, index): Debit => ({ customerId, amountMinor, key: `race_${index}` }));
  const replies = await Promise.all(debits.map((debit, caller) => way.debit(debit, caller)));
  const { rows: entries } = await rig.database.pool.query<EntryRow>(ENTRIES, [customerId]);

  const balances = [0, ...entries.map((entry) => entry.after_balance)];
  const left = balances.at(-1) ?? 0;
  rig.traffic.owed.set(customerId, left);
  expect(Math.min(...balances)).toBe(0);
  expect(entries.map((entry) => entry.seq)).toEqual(entries.map((_, index) => index + 1));
  expect(entries.map((entry) => entry.before_balance)).toEqual(balances.slice(0, -1));

  // What callers were told is what the books say: the same debits, of the same amounts, in the same places.
  const accepted = debits.flatMap(({ key, amountMinor }, index) => {
    const answer = replies[index];
    return answer && 'balance' in answer ? [[way.prefix + key, amountMinor, answer.balance]] : [];
  });
  const written = entries
    .filter((entry) => !entry.is_credit)
    .map((entry) => [entry.idempotency_key, entry.amount, entry.after_balance]);
  const byKey = (a: readonly unknown[], b: readonly unknown[]) => (String(a[0]) < String(b[0]) ? -1 : 1);
  expect(accepted.toSorted(byKey)).toEqual(written.toSorted(byKey));
  expect(openingMinor - total(written.map(([, amount]) => Number(amount)))).toBe(left);

  // Balances only fall here, so a debit that would still fit into what is left should never have been refused.
  for (const [index, answer] of replies.entries()) {
    if ('balance' in answer) continue;
    const { available, required, shortfall } = REFUSAL.parse(answer.details);
    expect([answer.code, required]).toEqual(['INSUFFICIENT_WALLET_FUNDS', sizesMinor[index]]);
    expect(balances).toContain(available);
    expect(available).toBeLessThan(required);
    expect(shortfall).toBe(required - available);
    expect(left).toBeLessThan(required);
  }
  const [first = 0] = sizesMinor;
  if (sizesMinor.every((one) => one === first)) {
    expect(accepted).toHaveLength(Math.min(DEBITS, Math.floor(openingMinor / first)));
  }
}
